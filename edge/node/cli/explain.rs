//! `edge explain`: what the running node would do with a request, and why.

use super::talk::{self, Admin};
use super::{Failure, say};
use clap::Args;
use http::Method;
use serde_json::Value as Json;

const EXAMPLES: &str = "\
Examples:
  edge explain http://example.com/logo.svg
  edge explain http://example.com/ --header 'Cookie: session=1'";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The URL as a visitor would ask for it.
    #[arg(value_name = "URL")]
    url: String,
    /// The method of the request.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A field of the request; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = target(&self.url, &self.method, &self.header);
        let answer = talk::ask(&self.admin, Method::GET, &target, None)?;
        match self.json {
            true => say::json(&answer),
            false => lines(&answer).iter().try_for_each(|line| say::line(line)),
        }
    }
}

/// The explanation of a request, at the admin API.
pub(super) fn target(url: &str, method: &Method, fields: &[String]) -> String {
    let mut target = format!(
        "/explain?url={}&method={}",
        talk::escaped(url),
        talk::escaped(method.as_str())
    );
    for field in fields {
        target.push_str("&header=");
        target.push_str(&talk::escaped(field));
    }
    target
}

/// The lines meant for people. A node that sends none is shown as it is.
fn lines(answer: &Json) -> Vec<String> {
    match &answer["text"] {
        Json::String(text) => text.lines().map(str::to_owned).collect(),
        Json::Array(lines) => lines
            .iter()
            .map(|line| {
                line.as_str()
                    .map_or_else(|| line.to_string(), str::to_owned)
            })
            .collect(),
        _ => format!("{answer:#}").lines().map(str::to_owned).collect(),
    }
}

fn field(text: &str) -> Result<String, String> {
    let good = text.split_once(':').is_some_and(|(name, value)| {
        http::HeaderName::try_from(name.trim()).is_ok()
            && http::HeaderValue::try_from(value.trim()).is_ok()
    });
    match good {
        true => Ok(text.to_owned()),
        false => Err("write it as 'Name: value'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_described_in_the_query() {
        let fields = ["Cookie: a=b&c".to_owned(), "X-Ü: 1".to_owned()];
        assert_eq!(
            target("http://a/?b=c&d#e", &Method::HEAD, &fields),
            "/explain?url=http%3A%2F%2Fa%2F%3Fb%3Dc%26d%23e&method=HEAD\
             &header=Cookie%3A%20a%3Db%26c&header=X-%C3%9C%3A%201"
        );
    }

    #[test]
    fn the_text_for_people_may_be_lines_or_one_text() {
        assert_eq!(lines(&json!({ "text": ["a", "b"] })), ["a", "b"]);
        assert_eq!(lines(&json!({ "text": "a\nb\n" })), ["a", "b"]);
    }

    #[test]
    fn a_field_has_a_name_and_a_value() {
        for (text, good) in [
            ("Cookie: a=b", true),
            ("Accept:", true),
            ("Cookie", false),
            ("a b: c", false),
            (": c", false),
            ("a: b\nc", false),
        ] {
            assert_eq!(field(text).is_ok(), good, "{text}");
        }
    }
}
