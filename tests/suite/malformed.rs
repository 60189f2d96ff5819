//! Requests that are malformed, or that two readers could read differently: each is refused with
//! its status, the connection ends, and nothing of it or of what follows reaches the origin.

use crate::refusal::{Bad, FOLLOWS, assert_refused};
use crate::{edge, fresh, in_front_of};
use edge_testkit::{Bodies, NoResponse, Origin, Reply, Request};
use std::time::Duration;

/// Refuses each of these heads, in every way to send it, and asks the origin nothing.
#[track_caller]
fn all_are_refused(table: &[(&[u8], u16)]) {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let table: Vec<_> = table
        .iter()
        .map(|(bytes, status)| Bad::head(bytes, *status))
        .collect();
    assert_refused(&node, &table);
    let seen: Vec<_> = origin
        .requests()
        .iter()
        .map(|visit| visit.target.clone())
        .collect();
    assert_eq!(seen, ["/good"], "the origin saw something else");
}

#[test]
fn request_lines_that_are_not_exactly_one_are_refused() {
    all_are_refused(&[
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\nHost: a\r\n\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/3.1\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / \r\nHost: a\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405),
        (b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET\xa0/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET\0 / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\xef\xbb\xbfGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\0\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\t\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/ 1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP /1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.01\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/+1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/-1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / ICAP/1.0\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/0.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400),
        (b"GET /smuggled\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"Host: a\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1 GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ]);
}

#[test]
fn targets_that_name_nothing_here_are_refused() {
    all_are_refused(&[
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a?\x02 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /.. HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%2e%2e/etc HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a/../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
        (b"OPTIONS a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET .. HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET \\ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET @a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET javascript:x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http:a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http:\\\\a\\ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a\\@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        (b"GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a:80@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        (b"GET http://@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a%2fb/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a%00/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a,b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a?b c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a?b\0c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a?b\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%u0041 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%+1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a/%2e%2e/%2E%2E/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /./../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /.%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%2e./b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET //../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a//../..//../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn lines_that_do_not_end_in_crlf_are_refused() {
    all_are_refused(&[
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\r\r\nHost: a\r\n\r\n", 400),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\n HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET\n / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n\rHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \rTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\n: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\n chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
    ]);
}

#[test]
fn field_lines_that_could_be_read_in_two_ways_are_refused() {
    all_are_refused(&[
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX(Y: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tfolded\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\n\tX: b\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\t\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\t\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX; b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX=b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\"X\": b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX[0]: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX@Y: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\0X: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\x0b: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\xef\xbb\xbfHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 0\r\n\r\n",
            400,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-a\xff, close\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect:\r\n\r\n", 417),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n",
            417,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n",
            417,
        ),
    ]);
}

#[test]
fn hosts_that_are_missing_doubtful_or_several_are_refused() {
    all_are_refused(&[
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\xc3\xa9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a%2e\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nHOST: a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a;b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: *\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:\xd9\xa1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1]]\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: .\r\n\r\n", 400),
    ]);
}

#[test]
fn framing_that_could_be_read_in_two_ways_is_refused() {
    all_are_refused(&[
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nCONTENT-LENGTH: 0\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ,5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5;x\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\t5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5e0\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5_0\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xd9\xa5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\0\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \x0b5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000005\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4294967301\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\0: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: cow\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n , gzip\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\0: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\x0bked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: deflate\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunk\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked-x\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \xff\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\xe2\x84\xaaed\r\n\r\n0\r\n\r\n", 501),
    ]);
}

#[test]
fn what_can_be_read_in_one_way_only_is_answered() {
    let origin = Origin::start(|visit| fresh(&visit.target));
    let node = in_front_of(&origin);
    for (head, target) in [
        ("\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a"),
        ("GET /a HTTP/1.2\r\nHost: a\r\n\r\n", "/a"),
        ("GET http://A:80/a HTTP/1.1\r\nHost: a\r\n\r\n", "/a"),
        ("GET HTTP://a?b HTTP/1.1\r\nHost: a\r\n\r\n", "/?b"),
        ("GET /a HTTP/1.1\r\nhOsT:a\r\n\r\n", "/a"),
        ("GET /a HTTP/1.1\r\nHost:\t a \t\r\nX:\r\nX: \r\n\r\n", "/a"),
        (
            "GET /a?%zz&b[]=| HTTP/1.1\r\nHost: a\r\n\r\n",
            "/a?%zz&b%5B%5D=%7C",
        ),
        ("GET /a\"<> HTTP/1.1\r\nHost: a\r\n\r\n", "/a%22%3C%3E"),
        ("GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "/a"),
        (
            "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "/a",
        ),
        ("GET //a///b HTTP/1.1\r\nHost: a\r\n\r\n", "/a/b"),
        ("GET /a/./b/%2e%2e/c HTTP/1.1\r\nHost: a\r\n\r\n", "/a/c"),
        ("GET /%61%2Fb%2e HTTP/1.1\r\nHost: a\r\n\r\n", "/a%2Fb."),
        ("GET /%0d%0aX HTTP/1.1\r\nHost: a\r\n\r\n", "/%0D%0AX"),
        (
            "GET /%c0%ae%c0%ae/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "/%C0%AE%C0%AE/x",
        ),
        ("GET /%2500 HTTP/1.1\r\nHost: a\r\n\r\n", "/%2500"),
        ("GET /..;/x HTTP/1.1\r\nHost: a\r\n\r\n", "/..;/x"),
        (
            "GET /a HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
            "/a",
        ),
        (
            "GET /a HTTP/1.1\r\nHost: a\r\nX-Transfer-Encoding: chunked\r\n\r\n",
            "/a",
        ),
        (
            "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n",
            "/a",
        ),
        ("get /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*"),
    ] {
        let mut connection = node.connect();
        for byte in head.as_bytes() {
            connection.send_raw([*byte]);
        }
        assert_eq!(connection.receive().expect(200).text(), target, "{head:?}");
    }
    assert!(origin.faults().is_empty(), "{:?}", origin.faults());
}

#[test]
fn chunked_bodies_that_break_their_framing_never_reach_their_end() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let bodies: &[&[u8]] = &[
        b"\r\n0\r\n\r\n",
        b"\n0\r\n\r\n",
        b" 0\r\n\r\n",
        b"\t0\r\n\r\n",
        b"0 \r\n\r\n",
        b"0\t\r\n\r\n",
        b"0\0\r\n\r\n",
        b"0\x0b\r\n\r\n",
        b"0\n\r\n",
        b"0\n\n",
        b"0\r\r\n\r\n",
        b"0\rX\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r\r\n",
        b"0\r\n\rGET /smuggled HTTP/1.1\r\n\r\n",
        b"-0\r\n\r\n",
        b"+0\r\n\r\n",
        b"0x0\r\n\r\n",
        b"0h\r\n\r\n",
        b"\"0\"\r\n\r\n",
        b"0,0\r\n\r\n",
        b"0.0\r\n\r\n",
        b"0_0\r\n\r\n",
        b"\xd9\xa0\r\n\r\n",
        b";\r\n\r\n",
        b";x=y\r\n\r\n",
        b"0;\0\r\n\r\n",
        b"0;x\x7f\r\n\r\n",
        b"0;x\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        b"0;x\rGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        b"0 ;x\r\n\r\n",
        b"0000000000000000\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n\r\n0\r\n\r\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n",
        b"5g\r\nhello\r\n0\r\n\r\n",
        b"5;a\0\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFB\r\nhello\r\n0\r\n\r\n",
        b"8000000000000005\r\nhello\r\n0\r\n\r\n",
        b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\n: y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n folded\r\n\r\n",
        b"0\r\nX: y\r\n\tfolded\r\n\r\n",
        b"0\r\nX: \0\r\n\r\n",
        b"0\r\nX: \x01\r\n\r\n",
        b"0\r\nX: \x0c\r\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
        b"0\r\nX: a\n\r\n",
        b"0\r\nX: a\r\n\n",
        b"0\r\nX(: a\r\n\r\n",
        b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    ];
    let before = b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table: Vec<_> = bodies
        .iter()
        .map(|bytes| Bad {
            before: before.to_vec(),
            bytes: bytes.to_vec(),
            status: 400,
        })
        .collect();
    assert_refused(&node, &table);
    for visit in origin.requests() {
        let fine = match visit.target.as_str() {
            "/good" => visit.method == "GET",
            "/upload" => !visit.body_complete,
            _ => false,
        };
        assert!(fine, "the origin saw {visit:?}");
    }
    assert!(origin.faults().is_empty(), "{:?}", origin.faults());
}

#[test]
fn lines_of_the_chunked_coding_have_a_limit() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let long = "a".repeat(5000);
    let many = "X: y\r\n".repeat(1000);
    for body in [
        format!("5;{long}\r\nhello\r\n0\r\n\r\n"),
        format!("0;{long}\r\n\r\n"),
        format!("0\r\nX: {long}\r\n\r\n"),
        format!("0\r\n{many}\r\n"),
        "0".repeat(5000),
    ] {
        let before =
            b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let bad = Bad {
            before,
            bytes: body.into_bytes(),
            status: 400,
        };
        assert_refused(&node, &[bad]);
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|visit| visit.target == "/good" || !visit.body_complete)
    );
}

#[test]
fn a_body_that_looks_like_a_request_stays_a_body() {
    let origin = Origin::start(|visit| Reply::ok(format!("{} {}", visit.target, visit.body_len)));
    let node = in_front_of(&origin);
    let length = FOLLOWS.len();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        let mut connection = node.connect();
        connection.send_raw(format!(
            "{method} /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{FOLLOWS}\
             {method} /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x};x=y\r\n{FOLLOWS}\r\n0\r\n\r\n\
             GET /after HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        for wanted in [
            format!("/a {length}"),
            format!("/b {length}"),
            "/after 0".to_owned(),
        ] {
            assert_eq!(connection.receive().expect(200).text(), wanted, "{method}");
        }
    }
    assert_eq!(origin.request_count_for("/smuggled"), 0);
    assert!(origin.faults().is_empty());
}

#[test]
fn an_origin_that_answers_before_the_body_does_not_get_the_body_as_a_request() {
    let origin = Origin::builder()
        .bodies(Bodies::Ignore)
        .start(|visit| Reply::ok(&visit.target));
    let node = in_front_of(&origin);
    for n in 0..20 {
        let mut connection = node.connect();
        let length = FOLLOWS.len();
        connection.send_raw(format!(
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ));
        assert!(connection.wait_for_head());
        let _ = connection.try_send_raw(FOLLOWS);
        assert_eq!(connection.receive().text(), "/a", "{n}");
        Request::get(&format!("/{n}")).send(node.http()).expect(200);
    }
    assert_eq!(origin.request_count_for("/smuggled"), 0);
}

#[test]
fn the_preface_of_http_2_is_no_request_on_a_used_connection() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let mut connection = node.connect();
    connection.exchange(&Request::get("/")).expect(200);
    connection.send_raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(connection.receive().status, 505);
    assert!(connection.closes_within(Duration::from_secs(5)));
    let mut connection = node.connect();
    connection
        .send_raw("GET / HTTP/1.1\r\nHost: edge.test\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(
        [connection.receive().status, connection.receive().status],
        [200, 505]
    );
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn heads_that_never_end_are_for_nobody() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    for head in [
        "",
        "\r\n",
        "G",
        "GET /\r\n",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
    ] {
        let mut connection = node.connect();
        connection.send_raw(head);
        connection.finish_sending();
        assert_eq!(
            connection.try_receive().unwrap_err(),
            NoResponse::Closed,
            "{head:?}"
        );
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn heads_and_targets_beyond_their_limits_are_refused_with_their_own_status() {
    let origin = Origin::start(|_| fresh("x"));
    let limits = "[guard]\nhead_max = \"4KiB\"\ntarget_max = \"1KiB\"\nfields_max = 20";
    let node = edge().config(limits).origin(&origin).start();
    let head = |target: usize, value: usize, fields: usize| {
        let target = "a".repeat(target - 1);
        let fields = "X: y\r\n".repeat(fields);
        format!(
            "GET /{target} HTTP/1.1\r\nHost: a\r\nX: {}\r\n{fields}\r\n",
            "b".repeat(value)
        )
    };
    for (target, value, fields, status) in [
        (1024, 1, 0, 200),
        (1025, 1, 0, 414),
        (100_000, 1, 0, 414),
        (1, 4000, 0, 200),
        (1, 4096, 0, 431),
        (1, 100_000, 0, 431),
        (1, 1, 18, 200),
        (1, 1, 19, 431),
        (1, 1, 2000, 431),
    ] {
        let head = head(target, value, fields);
        if status == 200 {
            Request::raw(&head).send(node.http()).expect(200);
        } else {
            assert_refused(&node, &[Bad::head(head.as_bytes(), status)]);
        }
    }
    // Two of the three that are good are for the same path, and the fourth is `/good`.
    assert_eq!(origin.request_count(), 3);
}

#[test]
fn a_request_line_without_end_is_refused_before_it_has_one() {
    let origin = Origin::start(|_| fresh("x"));
    let node = in_front_of(&origin);
    let mut connection = node.connect();
    connection.send_raw(format!("GET /{}", "a".repeat(17 << 10)));
    assert_eq!(connection.receive().status, 414);
    assert!(connection.closes_within(Duration::from_secs(5)));
}
