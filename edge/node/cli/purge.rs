//! `edge purge`: marks what a node must not serve again.

use super::talk::{self, Admin};
use super::{Failure, say};
use clap::{Args, ValueEnum};
use http::Method;
use serde_json::{Value as Json, json};

const EXAMPLES: &str = "\
Examples:
  edge purge http://example.com/logo.svg
  edge purge --prefix http://example.com/news/ --mode soft
  edge purge --tag article-17 --tag front-page
  edge purge --host example.com
  edge purge --everything";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Purge {
    #[command(flatten)]
    what: What,
    /// What becomes of the copies.
    #[arg(long, value_enum, default_value = "hard")]
    mode: Mode,
    /// Answer in JSON: {"stamp", "marks"}.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct What {
    /// These URLs, each in all its variants.
    #[arg(value_name = "URL")]
    url: Vec<String>,
    /// Every URL that begins like this.
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// Every response that carries this tag.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Every URL of this host.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// All there is.
    #[arg(long)]
    everything: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Treated as stale: the origin is asked before the next use.
    Soft,
    /// Served again only if the origin says that it is still good.
    Revalidate,
    /// Never served again.
    Hard,
}

impl Purge {
    pub(super) fn run(self) -> Result<(), Failure> {
        let order = self.what.order(self.mode);
        let answer = talk::ask(&self.admin, Method::POST, "/purge", Some(&order))?;
        match self.json {
            true => say::json(&answer),
            false => say::line(&in_words(&answer)),
        }
    }
}

impl What {
    fn order(&self, mode: Mode) -> Json {
        let mut order = json!({ "mode": mode.word() });
        for (name, list) in [
            ("url", &self.url),
            ("prefix", &self.prefix),
            ("tag", &self.tag),
            ("host", &self.host),
        ] {
            if !list.is_empty() {
                order[name] = json!(list);
            }
        }
        if self.everything {
            order["everything"] = json!(true);
        }
        order
    }
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Soft => "soft",
            Mode::Revalidate => "revalidate",
            Mode::Hard => "hard",
        }
    }
}

fn in_words(answer: &Json) -> String {
    let marks = answer["marks"].as_u64().unwrap_or_default();
    format!(
        "purged: {} at stamp {}",
        say::count(marks, "mark"),
        answer["stamp"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_ordered() {
        let what = What {
            url: vec!["http://a/".into(), "http://b/".into()],
            prefix: Vec::new(),
            tag: vec!["t".into()],
            host: Vec::new(),
            everything: false,
        };
        assert_eq!(
            what.order(Mode::Soft),
            json!({ "url": ["http://a/", "http://b/"], "tag": ["t"], "mode": "soft" })
        );
    }

    #[test]
    fn the_answer_is_said_in_words() {
        assert_eq!(
            in_words(&json!({ "stamp": 7, "marks": 1 })),
            "purged: 1 mark at stamp 7"
        );
    }
}
