//! `edge cache`: what a node holds. Reads the same answer as `edge explain` and shows the facts
//! instead of the story.

use super::explain;
use super::talk::{self, Admin};
use super::{Failure, say};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value as Json;

#[derive(Subcommand)]
pub(super) enum Cache {
    /// Show what the cache holds for a URL.
    Inspect(Inspect),
}

#[derive(Args)]
#[command(after_help = "Example:\n  edge cache inspect http://example.com/logo.svg")]
pub(super) struct Inspect {
    /// The URL as a visitor would ask for it.
    #[arg(value_name = "URL")]
    url: String,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

impl Cache {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Cache::Inspect(inspect) = self;
        let target = explain::target(&inspect.url, &Method::GET, &[]);
        let mut answer = talk::ask(&inspect.admin, Method::GET, &target, None)?;
        if let Some(members) = answer.as_object_mut() {
            members.remove("text");
        }
        match inspect.json {
            true => say::json(&answer),
            false => facts(&answer).iter().try_for_each(|fact| say::line(fact)),
        }
    }
}

/// `name: value` for every member; what has members of its own stands indented below its name.
fn facts(answer: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    collect(answer, 0, &mut lines);
    lines
}

/// serde_json reads no more than 128 levels, which bounds this.
fn collect(value: &Json, depth: usize, lines: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        fact(name, value, depth, lines);
    }
    for item in value.as_array().into_iter().flatten() {
        match item.as_array().map(Vec::as_slice) {
            // Fields of a response come as pairs.
            Some([Json::String(name), value]) => fact(name, value, depth, lines),
            _ => fact("item", item, depth, lines),
        }
    }
}

fn fact(name: &str, value: &Json, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Json::Null => lines.push(format!("{indent}{name}: none")),
        Json::String(text) => lines.push(format!("{indent}{name}: {text}")),
        Json::Object(_) | Json::Array(_) => {
            lines.push(format!("{indent}{name}:"));
            collect(value, depth + 1, lines);
        }
        other => lines.push(format!("{indent}{name}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_lines() {
        let answer = json!({
            "key": "a",
            "site": null,
            "stored": { "bytes": 5, "fields": [["etag", "\"x\""]], "tags": ["t"] },
        });
        let wanted = [
            "key: a",
            "site: none",
            "stored:",
            "  bytes: 5",
            "  fields:",
            "    etag: \"x\"",
            "  tags:",
            "    item: t",
        ];
        assert_eq!(facts(&answer), wanted);
    }
}
