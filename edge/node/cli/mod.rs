//! The command line: what can be asked for, and which file does it.
//!
//! Exit codes: 0 done, 1 failed, 2 asked for in a wrong way or a config with mistakes. What went
//! wrong is one line on standard error that begins with `edge:` and names the cure; answers go to
//! standard output and nothing else does.

mod cache;
mod check;
mod explain;
pub(crate) mod logger;
mod purge;
mod run;
mod say;
mod store;
mod talk;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use std::process::ExitCode;

/// The package's version and the commit it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("EDGE_COMMIT"), ")");

const EXAMPLES: &str = "\
Examples:
  edge                                         a demo site on http://127.0.0.1:8080/
  edge run --origin http://127.0.0.1:3000      a cache in front of your own server
  edge run --config /etc/edge/edge.toml        what a production node runs
  edge check /etc/edge/edge.toml               is the config right?
  edge store import public store://www         publish a folder

`edge help COMMAND` says more about a command.";

/// A CDN edge node: a caching reverse proxy with an object store of its own.
///
/// Started without a command it runs a demo that needs no config file.
#[derive(Parser)]
#[command(name = "edge", version = VERSION, after_help = EXAMPLES, disable_help_subcommand = false)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node until it is told to stop.
    Run(run::Run),
    /// Find the mistakes in a config file.
    Check(check::Check),
    /// Ask a node what it would do with a request, and why.
    Explain(explain::Explain),
    /// Make a node forget what it has cached.
    Purge(purge::Purge),
    /// Look into a node's cache.
    #[command(subcommand)]
    Cache(cache::Cache),
    /// Keep files in the bundled object store.
    Store(store::Arguments),
    /// Print a script that teaches your shell to complete `edge`.
    #[command(after_help = "Example:\n  edge completions bash > /etc/bash_completion.d/edge")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Why a command did not do what it was asked to do.
#[derive(Debug)]
enum Failure {
    /// It was tried. Exit code 1.
    Failed(String),
    /// It was asked for in a wrong way. Exit code 2.
    Invalid(String),
    /// Nobody reads our output any more (`edge … | head`): no failure to speak of.
    Unheard,
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => return usage(&error),
    };
    let done = match line.command.unwrap_or(Command::Run(run::Run::default())) {
        Command::Run(run) => run.run(),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run(),
        Command::Purge(purge) => purge.run(),
        Command::Cache(cache) => cache.run(),
        Command::Store(store) => store.run(),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(()) | Err(Failure::Unheard) => ExitCode::SUCCESS,
        Err(Failure::Failed(what)) => {
            say::complain(&what);
            ExitCode::from(1)
        }
        Err(Failure::Invalid(what)) => {
            say::complain(&what);
            ExitCode::from(2)
        }
    }
}

/// Help and version are answers; everything else is a complaint in our own words' form.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed pipe is the only thing that can go wrong, and nobody would hear of it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    say::complain_at_length(text.trim_end());
    ExitCode::from(2)
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Line::command(), "edge", &mut script);
    say::bytes(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_of_all_commands_are_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        fn walk(command: &clap::Command) {
            for inner in command.get_subcommands() {
                let name = inner.get_name();
                assert!(
                    inner.get_about().is_some(),
                    "{name} says nothing about itself"
                );
                if inner.has_subcommands() {
                    walk(inner);
                } else {
                    let help = inner.get_after_help().map(ToString::to_string);
                    assert!(
                        help.is_some_and(|help| help.contains("  edge ")),
                        "{name} has no example"
                    );
                }
            }
        }
        walk(&Line::command());
    }

    #[test]
    fn the_words_of_the_manual_are_understood() {
        for words in [
            "edge",
            "edge run",
            "edge run --config a.toml",
            "edge run --origin http://127.0.0.1:3000 --data d",
            "edge check a.toml",
            "edge check a.toml --print",
            "edge check --schema",
            "edge check a.toml --json",
            "edge explain http://a/ --method HEAD --header a:b --header c:d --json --admin http://b:1",
            "edge purge http://a/ http://b/",
            "edge purge --prefix http://a/x --tag t --host a --mode soft --json",
            "edge purge --everything",
            "edge cache inspect http://a/ --json",
            "edge store buckets --admin http://b:1",
            "edge store --data d mb store://www",
            "edge store rb www",
            "edge store ls",
            "edge store ls store://www/a --recursive --data d",
            "edge store cp a store://www/a",
            "edge store cp store://www/a -",
            "edge store rm store://www/a --recursive",
            "edge store import d store://www/a",
            "edge completions zsh",
        ] {
            let parsed = Line::try_parse_from(words.split(' '));
            assert!(parsed.is_ok(), "{words}: {}", parsed.err().unwrap());
        }
        for words in [
            "edge jump",
            "edge run --config a --origin http://b",
            "edge run --config a --data b",
            "edge check",
            "edge check a --print --json",
            "edge purge",
            "edge purge http://a/ --mode gentle",
            "edge store cp a store://",
            "edge store rm www/a",
            "edge store mb store://www/a",
            "edge explain http://a/ --header nocolon",
        ] {
            assert!(Line::try_parse_from(words.split(' ')).is_err(), "{words}");
        }
    }
}
