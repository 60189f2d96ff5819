//! The access log as whoever reads it gets it.

use crate::{edge, fresh};
use edge_testkit::{Node, Origin, Request, eventually};
use serde_json::Value;
use std::time::Duration;

fn logging(lines: &str) -> (Origin, Node) {
    let origin = Origin::start(|_| fresh("hello"));
    let node = edge()
        .config(&format!("[log]\n{lines}"))
        .origin(&origin)
        .start();
    (origin, node)
}

/// Waits until the file in the node's directory has this many lines, and returns them.
#[track_caller]
fn lines_of(node: &Node, file: &str, count: usize) -> Vec<String> {
    let path = node.directory().join(file);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let there = eventually(Duration::from_secs(10), || read().lines().count() >= count);
    assert!(
        there,
        "{count} lines expected in {file}, there are:\n{}",
        read()
    );
    read().lines().map(str::to_owned).collect()
}

/// A line is left after its reply, so that the next one may come first.
#[track_caller]
fn wait_for_lines(node: &Node, count: usize) {
    let there = eventually(Duration::from_secs(10), || {
        node.stdout().lines().count() == count
    });
    assert!(
        there,
        "{count} lines expected, there are:\n{}",
        node.stdout()
    );
}

#[test]
fn each_request_is_a_json_line_on_standard_output_by_default() {
    let (_origin, node) = logging("");
    let request = Request::get("/a?b=%22")
        .field("User-Agent", "a \"b\"\\")
        .field("Referer", "r");
    let bad = Request::raw("GET / HTTP/1.1\r\n\r\n");
    for (n, request) in [&request, &request, &bad].into_iter().enumerate() {
        request.send(node.http());
        wait_for_lines(&node, n + 1);
    }
    let lines: Vec<Value> = node
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (line, cache) in lines.iter().zip(["miss", "hit"]) {
        assert_eq!(
            (&line["method"], &line["host"], &line["target"]),
            (&"GET".into(), &"edge.test".into(), &"/a?b=%22".into())
        );
        assert_eq!(
            (&line["status"], &line["bytes"], &line["cache"]),
            (&200.into(), &5.into(), &cache.into())
        );
        assert_eq!(
            (&line["client"], &line["site"]),
            (&"127.0.0.1".into(), &"*".into())
        );
        assert_eq!(
            (&line["user_agent"], &line["referer"]),
            (&"a \"b\"\\".into(), &"r".into())
        );
        assert!(
            line["duration_ms"].is_number() && line["time"].is_string(),
            "{line}"
        );
    }
    assert_eq!(
        (&lines[2]["status"], &lines[2]["reason"]),
        (&400.into(), &"malformed-request".into())
    );
}

#[test]
fn a_line_in_combined_format_is_what_every_log_reader_knows() {
    let (_origin, node) = logging("format = \"combined\"");
    let request = Request::get("/a?b")
        .field("User-Agent", "test \"1\"")
        .field("Referer", "http://r/");
    request.send(node.http()).expect(200);
    let line = node.wait_for_stdout("GET");
    let (before, after) = line.split_once(" \"GET ").unwrap();
    assert!(
        before.starts_with("127.0.0.1 - - [") && before.ends_with(" +0000]"),
        "{line}"
    );
    assert_eq!(
        after,
        "/a?b HTTP/1.1\" 200 5 \"http://r/\" \"test \\x221\\x22\""
    );
}

#[test]
fn a_file_that_was_moved_away_is_opened_again_on_sighup() {
    let (_origin, node) = logging("access = \"file:access.log\"");
    node.get("/first").expect(200);
    lines_of(&node, "access.log", 1);
    let path = |name| node.directory().join(name);
    std::fs::rename(path("access.log"), path("access.log.1")).unwrap();
    node.get("/second").expect(200);
    lines_of(&node, "access.log.1", 2);
    node.reload();
    node.wait_for_stderr("edge: reloaded");
    node.get("/third").expect(200);
    let lines = lines_of(&node, "access.log", 1);
    assert!(lines.len() == 1 && lines[0].contains("/third"), "{lines:?}");
    let old = lines_of(&node, "access.log.1", 2);
    assert!(
        old[0].contains("/first") && old[1].contains("/second"),
        "{old:?}"
    );
    assert_eq!(node.stdout(), "");
}

#[test]
fn lines_of_requests_that_are_done_are_there_when_the_node_has_stopped() {
    let (_origin, mut node) = logging("access = \"file:access.log\"");
    let mut connection = node.connect();
    for n in 0..500 {
        connection
            .exchange(&Request::get(&format!("/{}", n % 10)))
            .expect(200);
    }
    drop(connection);
    node.stop();
    assert_eq!(lines_of(&node, "access.log", 500).len(), 500);
}

#[test]
fn off_writes_nothing_anywhere() {
    let (_origin, mut node) = logging("access = \"off\"");
    node.get("/secret-path").expect(200);
    node.stop();
    assert_eq!(node.stdout(), "");
    assert!(!node.stderr().contains("secret-path"), "{}", node.stderr());
}

#[test]
fn an_answer_that_was_cut_short_is_marked() {
    let origin = Origin::start(|_| fresh("half").length(8));
    let node = edge().origin(&origin).start();
    assert!(!node.get("/").complete);
    let line: Value = serde_json::from_str(&node.wait_for_stdout("GET")).unwrap();
    assert_eq!(
        (&line["complete"], &line["bytes"]),
        (&false.into(), &4.into()),
        "{line}"
    );
}

#[test]
fn no_request_can_forge_a_line() {
    let (_origin, node) = logging("");
    let forged = "x\u{9b}31m\u{85}{\"status\":200}";
    Request::get("/")
        .field("User-Agent", forged)
        .send(node.http())
        .expect(200);
    Request::get("/last").send(node.http()).expect(200);
    wait_for_lines(&node, 2);
    let out = node.stdout();
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(
        out.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{out}"
    );
    assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
}
