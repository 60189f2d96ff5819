//! Reads requests by the letter of RFC 9112 and RFC 3986, as plainly as can be and without any of
//! our code: what the differential test compares the node with.

use edge_testkit::crc;

/// A request as any reader must see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    /// Fields of the client's own, names in lower case, in order of names.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body_len: u64,
    pub(crate) body_crc: u32,
}

impl Seen {
    /// All of it in one line.
    pub(crate) fn line(&self) -> String {
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!(
            "{} {} {} {} {} {}",
            self.method,
            self.target,
            self.host,
            self.body_len,
            self.body_crc,
            fields.join(";")
        )
    }
}

/// Fields this test sends that pass through: those that begin with `x-t`.
pub(crate) fn own_fields(fields: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut own: Vec<_> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name.starts_with("x-t"))
        .collect();
    own.sort_by(|a, b| a.0.cmp(&b.0));
    own
}

/// The requests in these bytes, as far as they are whole and well-formed.
pub(crate) fn read_plainly(mut bytes: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some((seen, used, last)) = read_one(bytes) {
        all.push(seen);
        bytes = &bytes[used..];
        if last {
            break;
        }
    }
    all
}

/// One request, the bytes it took, and whether it is the last on its connection.
fn read_one(bytes: &[u8]) -> Option<(Seen, usize, bool)> {
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let end = start
        + bytes[start..]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")?
        + 4;
    // One character for each byte.
    let head: String = bytes[start..end - 4]
        .iter()
        .map(|byte| char::from(*byte))
        .collect();
    let mut lines = head.split("\r\n");
    let words: Vec<_> = lines.next()?.split(' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let minor = version
        .strip_prefix("HTTP/1.")
        .filter(|minor| minor.len() == 1)?;
    let old = minor == "0";
    minor.parse::<u8>().ok()?;
    is_token(method).then_some(())?;
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim_matches([' ', '\t']);
        let sound = is_token(name)
            && value
                .chars()
                .all(|c| c == '\t' || (c >= ' ' && c != '\x7f'));
        sound.then_some(())?;
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let all = |wanted: &str| -> Vec<String> {
        let named = fields.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| value.clone()).collect()
    };
    let hosts = all("host");
    (hosts.len() == 1 || (old && hosts.is_empty())).then_some(())?;
    let (authority, target) = split(target)?;
    let mut host = normal_host(hosts.first().map_or("", String::as_str))?;
    if let Some(authority) = authority {
        let wanted = normal_host(&authority)?;
        (hosts.is_empty() || wanted == host).then_some(())?;
        host = wanted;
    }
    let (body, used) = match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => (Vec::new(), 0),
        ([], [length]) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length: usize = digits.then(|| length.parse().ok()).flatten()?;
            (bytes[end..].get(..length)?.to_vec(), length)
        }
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") && !old => unchunk(&bytes[end..])?,
        _ => return None,
    };
    let options: Vec<_> = all("connection")
        .iter()
        .flat_map(|list| list.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let last = options.iter().any(|option| option == "close")
        || (old && !options.iter().any(|option| option == "keep-alive"));
    let seen = Seen {
        method: method.to_owned(),
        target: normal_target(&target)?,
        host,
        fields: own_fields(
            fields
                .into_iter()
                .filter(|(name, _)| !options.contains(name)),
        ),
        body_len: body.len() as u64,
        body_crc: crc(&body),
    };
    Some((seen, end + used, last))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn split(target: &str) -> Option<(Option<String>, String)> {
    if target.starts_with('/') || target == "*" {
        return Some((None, target.to_owned()));
    }
    let rest = target
        .get(..7)
        .filter(|start| start.eq_ignore_ascii_case("http://"))
        .map(|_| &target[7..])?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let slash = if rest[end..].starts_with('/') {
        ""
    } else {
        "/"
    };
    Some((
        Some(rest[..end].to_owned()),
        format!("{slash}{}", &rest[end..]),
    ))
}

fn normal_host(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let (name, port) = host.split_once(':').unwrap_or((&host, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    match port {
        "" => Some(name.to_owned()),
        digits => match digits.parse::<u16>().ok()? {
            80 => Some(name.to_owned()),
            port => Some(format!("{name}:{port}")),
        },
    }
}

/// RFC 3986: escapes of unreserved characters undone, the others in upper case, dot segments
/// removed by the letter of section 5.2.4; before that, repeated slashes become one.
fn normal_target(target: &str) -> Option<String> {
    if target == "*" {
        return Some("*".into());
    }
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    let mut plain = String::new();
    let bytes: Vec<u8> = path.chars().map(|c| c as u32 as u8).collect();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        if byte == b'%' {
            let digits = std::str::from_utf8(bytes.get(at..at + 2)?).ok()?;
            digits
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit())
                .then_some(())?;
            at += 2;
            let value = u8::from_str_radix(digits, 16).ok()?;
            match char::from(value) {
                '\0' => return None,
                c if c.is_ascii_alphanumeric() || "-._~".contains(c) => plain.push(c),
                _ => plain.push_str(&format!("%{value:02X}")),
            }
        } else {
            plain.push_str(&escaped(byte)?);
        }
    }
    while plain.contains("//") {
        plain = plain.replace("//", "/");
    }
    let mut out = String::new();
    let mut input = plain.as_str();
    while !input.is_empty() {
        if let Some(rest) = input.strip_prefix("/./") {
            input = &input[input.len() - rest.len() - 1..];
        } else if input == "/." {
            input = "/";
        } else if input.starts_with("/../") || input == "/.." {
            let cut = out.rfind('/')?;
            out.truncate(cut);
            input = if input == "/.." { "/" } else { &input[3..] };
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            out.push_str(&input[..end]);
            input = &input[end..];
        }
    }
    if let Some(query) = query {
        out.push('?');
        for c in query.chars() {
            match c {
                '%' | '?' => out.push(c),
                c => out.push_str(&escaped(c as u32 as u8)?),
            }
        }
    }
    Some(out)
}

/// A byte of a path or query as it may stand in a URI.
fn escaped(byte: u8) -> Option<String> {
    match char::from(byte) {
        '#' | '\0'..=' ' | '\x7f' => None,
        c if c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/".contains(c) => Some(c.to_string()),
        _ => Some(format!("%{byte:02X}")),
    }
}

/// A chunked body by RFC 9112, section 7.1, and the bytes it took.
fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    let line = |at: usize| -> Option<(&[u8], usize)> {
        let end = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let line = &bytes[at..end];
        line.iter()
            .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
            .then_some((line, end + 2))
    };
    loop {
        let (size, next) = line(at)?;
        let digits = size.split(|byte| *byte == b';').next()?;
        (!digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit)).then_some(())?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        (bytes.get(at..at + 2)? == b"\r\n").then_some(())?;
        at += 2;
    }
    loop {
        let (trailer, next) = line(at)?;
        at = next;
        if trailer.is_empty() {
            return Some((body, at));
        }
        let colon = trailer.iter().position(|byte| *byte == b':')?;
        is_token(std::str::from_utf8(&trailer[..colon]).ok()?).then_some(())?;
    }
}
