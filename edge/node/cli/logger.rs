//! What the node says about itself, line by line on standard error. Whoever runs it (systemd, a
//! container) adds the time. Never used for requests: those are in the access log.

use super::say;
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr;

/// From now on `log` messages of this level and above are written. Called again, it only changes
/// the level, as `log::set_max_level` does.
pub(crate) fn init(level: LevelFilter) {
    // Fails only when a logger is set already, which is then ours.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(level);
}

impl Log for Stderr {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        is_heard(about.target(), about.level(), log::max_level())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say::error_text(&text(record));
        }
    }

    fn flush(&self) {}
}

/// Libraries speak to their authors at `info` and below; an operator wants that only when
/// everything was asked for.
fn is_heard(target: &str, level: Level, max: LevelFilter) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    let is_ours = name == "edge" || name.starts_with("edge_");
    level <= max && (is_ours || level <= Level::Warn || max == LevelFilter::Trace)
}

/// `edge: listening …`, `edge: warn: …`; below that with the place it comes from.
fn text(record: &Record<'_>) -> String {
    let message = say::one_line(&record.args().to_string());
    match record.level() {
        Level::Error => format!("edge: error: {message}\n"),
        Level::Warn => format!("edge: warn: {message}\n"),
        Level::Info => format!("edge: {message}\n"),
        Level::Debug => format!("edge: debug: {}: {message}\n", record.target()),
        Level::Trace => format!("edge: trace: {}: {message}\n", record.target()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_heard_only_when_something_is_wrong() {
        for (target, level, max, heard) in [
            ("edge::assemble", Level::Info, LevelFilter::Info, true),
            ("edge_store::sweep", Level::Debug, LevelFilter::Debug, true),
            ("edge::assemble", Level::Info, LevelFilter::Warn, false),
            (
                "pingora_core::server",
                Level::Info,
                LevelFilter::Debug,
                false,
            ),
            ("pingora_core::server", Level::Warn, LevelFilter::Info, true),
            (
                "pingora_core::server",
                Level::Warn,
                LevelFilter::Error,
                false,
            ),
            ("edgeless", Level::Info, LevelFilter::Info, false),
            ("h2::codec", Level::Trace, LevelFilter::Trace, true),
        ] {
            assert_eq!(
                is_heard(target, level, max),
                heard,
                "{target} {level} {max}"
            );
        }
    }

    #[test]
    fn a_message_is_one_line() {
        let record = |level, message| {
            let args = format_args!("{message}");
            text(
                &Record::builder()
                    .level(level)
                    .target("edge::a")
                    .args(args)
                    .build(),
            )
        };
        assert_eq!(
            record(Level::Warn, "a\nedge: ready"),
            "edge: warn: a\\nedge: ready\n"
        );
        assert_eq!(record(Level::Info, "ready"), "edge: ready\n");
        assert_eq!(record(Level::Debug, "x"), "edge: debug: edge::a: x\n");
    }
}
