//! `edge run`: settings from a config file, or from nothing but an origin, or the demo; then the
//! node, until it is told to stop.

use super::{Failure, logger, say};
use crate::assemble::{self, Start};
use crate::config::{self, Mistakes, Settings};
use clap::Args;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  edge run                                     the demo, on http://127.0.0.1:8080/
  edge run --origin http://127.0.0.1:3000      cache your own server, on http://127.0.0.1:8080/
  edge run --origin store://www --data site    serve files from the bucket `www`
  edge run --config /etc/edge/edge.toml        what a production node runs

Only what the config names is listened on; without one, ports 8080 and 9090 of this machine alone.";

/// Where the data goes when nobody says anything else.
const DATA: &str = "edge-data";

/// What the demo serves; `config::demo` says the same.
const DEMO_ORIGIN: &str = "store://www";

#[derive(Args, Default)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// The config file; it is read again on SIGHUP.
    #[arg(long, value_name = "FILE", conflicts_with = "origin")]
    config: Option<PathBuf>,
    /// Stand in front of this server: http(s)://HOST[:PORT], or store://BUCKET.
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Where to keep the store; a config file says so itself [default: edge-data].
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data: Option<PathBuf>,
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let start = match self.config {
            Some(file) => from_file(file),
            None => without_file(self.origin, self.data.unwrap_or_else(|| DATA.into())),
        };
        let start = start.map_err(|mistakes| nothing_started(&mistakes))?;
        logger::init(start.settings.log.level.filter());
        assemble::run(start).map_err(Failure::Failed)
    }
}

fn from_file(file: PathBuf) -> Result<Start, Mistakes> {
    let loaded = config::load(&file)?;
    Ok(Start {
        printed: config::print(&loaded.file),
        settings: loaded.settings,
        file: Some(file),
        demo: false,
    })
}

fn without_file(origin: Option<String>, data: PathBuf) -> Result<Start, Mistakes> {
    let (settings, demo) = match &origin {
        Some(origin) => (config::for_origin(origin, data)?, false),
        None => (config::demo(data), true),
    };
    Ok(Start {
        printed: printed(&settings, origin.as_deref().unwrap_or(DEMO_ORIGIN)),
        settings,
        file: None,
        demo,
    })
}

/// The config file that would give these settings, every default filled in.
fn printed(settings: &Settings, origin: &str) -> String {
    let quoted = |text: &str| toml_edit::Value::from(text).to_string();
    let mut text = format!(
        "data = {}\n[listen]\n",
        quoted(&settings.data.to_string_lossy())
    );
    let http: Vec<_> = settings
        .listen
        .http
        .iter()
        .map(|http| format!("\"{http}\""))
        .collect();
    text.push_str(&format!("http = [{}]\n", http.join(", ")));
    if let Some(admin) = settings.listen.admin {
        text.push_str(&format!("admin = \"{admin}\"\n"));
    }
    let origin = origin.strip_suffix('/').unwrap_or(origin);
    text.push_str(&format!(
        "[[site]]\nhosts = [\"*\"]\norigin = {}\n",
        quoted(origin)
    ));
    config::from_str("edge", &text, Path::new(""))
        .map_or(text, |loaded| config::print(&loaded.file))
}

fn nothing_started(mistakes: &Mistakes) -> Failure {
    say::error_text(&format!("{mistakes}\n"));
    let count = say::count(mistakes.len() as u64, "mistake");
    Failure::Invalid(format!("{count}; nothing was started."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_without_a_config_file_is_what_the_node_does() {
        for origin in [None, Some("http://127.0.0.1:3000/"), Some("store://pages")] {
            let start = without_file(origin.map(str::to_owned), "my \"data\"".into()).unwrap();
            let again = config::from_str("t", &start.printed, Path::new("")).unwrap();
            assert_eq!(again.settings, start.settings);
            assert_eq!(start.demo, origin.is_none());
        }
    }

    #[test]
    fn a_config_with_mistakes_starts_nothing() {
        let Err(mistakes) = without_file(Some("ftp://a".into()), DATA.into()) else {
            panic!("ftp is no origin");
        };
        let Failure::Invalid(words) = nothing_started(&mistakes) else {
            panic!("a mistake is not a failure");
        };
        assert_eq!(words, "1 mistake; nothing was started.");
    }
}
