//! Where the access log goes, how its lines look, and how much the node says.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::{Why, Word, choice};

choice! {
    /// How a line of the access log looks.
    pub enum Format {
        /// One JSON object per line.
        Json = "json",
        /// The combined format of Apache and nginx.
        Combined = "combined",
    }
}

choice! {
    /// How much the node says about itself.
    pub enum Level {
        /// What needs somebody's attention.
        Error = "error",
        /// What may need it soon.
        Warn = "warn",
        /// What the node does, at the pace of an operator.
        Info = "info",
        /// What it does, at the pace of requests.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

impl Level {
    /// The same for the `log` crate.
    pub fn filter(self) -> log::LevelFilter {
        match self {
            Self::Error => log::LevelFilter::Error,
            Self::Warn => log::LevelFilter::Warn,
            Self::Info => log::LevelFilter::Info,
            Self::Debug => log::LevelFilter::Debug,
            Self::Trace => log::LevelFilter::Trace,
        }
    }
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

impl Word for AccessLog {
    const WANTS: &'static str = "\"off\", \"stdout\" or \"file:/path\"";

    fn parse(text: &str) -> Result<Self, Why> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            _ => match text.strip_prefix("file:") {
                Some(path) => PathBuf::parse(path).map(Self::File),
                None => Err(Why::default()),
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Off => "off".into(),
            Self::Stdout => "stdout".into(),
            Self::File(path) => format!("file:{}", path.text()),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(off|stdout|file:.+)$" })
    }
}
