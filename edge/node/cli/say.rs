//! How commands speak: answers to standard output, everything else to standard error.
//!
//! Names and messages may come from strangers (keys of objects, errors of a node), so control
//! characters are escaped wherever a line is meant to be one line.

use super::Failure;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Part of the answer, as it is.
pub(super) fn bytes(answer: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(answer)
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unheard,
            _ => Failure::Failed(format!("standard output cannot be written to: {error}")),
        })
}

/// A line of the answer.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut text = one_line(text);
    text.push('\n');
    bytes(text.as_bytes())
}

/// An answer for programs.
pub(super) fn json(answer: &serde_json::Value) -> Result<(), Failure> {
    bytes(format!("{answer:#}\n").as_bytes())
}

/// `edge: …` on standard error.
pub(super) fn complain(what: &str) {
    complain_at_length(&one_line(what));
}

/// The same for texts of several lines, which must be our own.
pub(super) fn complain_at_length(what: &str) {
    error_text(&format!("edge: {what}\n"));
}

/// Text of our own on standard error. If that is gone, there is nobody left to tell.
pub(super) fn error_text(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The text with its control characters escaped.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character.is_control() {
            true => drop(write!(out, "{}", character.escape_debug())),
            false => out.push(character),
        }
    }
    out
}

/// `1 file`, `2 files`
pub(super) fn count(n: u64, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        assert_eq!(
            one_line("a\nb\r\x1b[2J\u{9b}ü\t"),
            "a\\nb\\r\\u{1b}[2J\\u{9b}ü\\t"
        );
    }
}
