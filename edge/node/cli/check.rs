//! `edge check`: every mistake of a config file, or the config as the node would see it.

use super::{Failure, say};
use crate::config::{self, Loaded, Mistakes};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  edge check /etc/edge/edge.toml
  edge check /etc/edge/edge.toml --print       with every default filled in
  edge check --schema > edge.schema.json       for editors";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// The config file; what it includes is checked as well.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print the config in effect as TOML: defaults filled in, included sites in place.
    #[arg(long, conflicts_with_all = ["schema", "json"])]
    print: bool,
    /// Print the JSON Schema of config files.
    #[arg(long)]
    schema: bool,
    /// Answer in JSON: {"ok", "mistakes": [{"file", "line", "column", "text"}], …}.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Some(file) = self.file.filter(|_| !self.schema) else {
            return say::json(&config::schema());
        };
        match config::load(&file) {
            Ok(loaded) if self.print => say::bytes(config::print(&loaded.file).as_bytes()),
            Ok(loaded) if self.json => say::json(&good(&loaded)),
            Ok(loaded) => say::line(&format!("{}: good; {}", file.display(), summary(&loaded))),
            Err(mistakes) => {
                match self.json {
                    true => say::json(&bad(&mistakes))?,
                    false => say::error_text(&format!("{mistakes}\n")),
                }
                let count = say::count(mistakes.len() as u64, "mistake");
                Err(Failure::Invalid(format!("{count} in {}", file.display())))
            }
        }
    }
}

fn summary(loaded: &Loaded) -> String {
    let settings = &loaded.settings;
    let routes: usize = settings.sites.iter().map(|site| site.routes.len()).sum();
    format!(
        "{}, {}, {}",
        say::count(settings.sites.len() as u64, "site"),
        say::count(routes as u64, "route"),
        say::count(settings.origins.len() as u64, "origin")
    )
}

fn good(loaded: &Loaded) -> serde_json::Value {
    let included: Vec<_> = loaded
        .included
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    json!({
        "ok": true,
        "mistakes": [],
        "included": included,
        "sites": loaded.settings.sites.len(),
        "origins": loaded.settings.origins.len(),
    })
}

/// A mistake that concerns a file as a whole has no line and column.
fn bad(mistakes: &Mistakes) -> serde_json::Value {
    let place = |number: u32| (number > 0).then_some(number);
    let list: Vec<_> = mistakes
        .iter()
        .map(|mistake| {
            json!({
                "file": &*mistake.at.file,
                "line": place(mistake.at.line),
                "column": place(mistake.at.column),
                "text": mistake.text,
            })
        })
        .collect();
    json!({ "ok": false, "mistakes": list, "count": mistakes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn mistakes_are_given_to_programs_with_their_places() {
        let text = "[listen]\nhttp = [\"127.0.0.1:0\"]\n[cache]\nmemry = \"1GiB\"\n";
        let mistakes = config::from_str("a.toml", text, Path::new("")).unwrap_err();
        let json = bad(&mistakes);
        assert_eq!(json["ok"], false);
        assert_eq!(json["mistakes"][0]["file"], "a.toml");
        assert_eq!(json["mistakes"][0]["line"], 4);
        assert_eq!(json["mistakes"][0]["column"], 1);
    }
}
