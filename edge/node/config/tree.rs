//! A config file as a tree in which every key and value knows its place.
//!
//! This is the only file that touches the TOML parser for reading. Tables
//! written as `[a]`, `a = {…}` or `a.b = …` look the same from here on, and so
//! do `[[a]]` and `a = [{…}]`. Nesting is bounded by the parser.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value as Json;
use toml_edit::{Item, TableLike, Value};

use super::mistakes::{At, Mistakes};

/// Wrong values are quoted in a mistake up to this many characters.
const SHOWN_MAX: usize = 60;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it starts; for a table, where it is named.
    pub at: At,
}

/// What a value can be.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `"text"`
    Text(String),
    /// `12`
    Whole(i64),
    /// `true`
    Truth(bool),
    /// A number with a fraction or a date, neither of which any key wants; as written.
    Other(String),
    /// `[…]` or a run of `[[…]]`
    List(Vec<Node>),
    /// `{…}` or `[…]`, in the order written
    Table(Vec<(Key, Node)>),
}

/// The name on the left of `=`.
#[derive(Debug, Clone)]
pub struct Key {
    /// Unquoted.
    pub name: String,
    /// Where it starts.
    pub at: At,
}

impl Node {
    /// A table nobody wrote: what an absent section decodes from.
    pub fn empty_table(at: &At) -> Self {
        Self {
            kind: Kind::Table(Vec::new()),
            at: at.clone(),
        }
    }

    /// The value under `name`, when this is a table that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        let Kind::Table(rows) = &self.kind else {
            return None;
        };
        rows.iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
    }

    /// The value as a mistake quotes it. One line, bounded.
    pub fn shown(&self) -> String {
        match &self.kind {
            Kind::Text(text) if text.chars().count() > SHOWN_MAX => {
                let start: String = text.chars().take(SHOWN_MAX).collect();
                format!("{start:?}…")
            }
            Kind::Text(text) => format!("{text:?}"),
            Kind::Whole(number) => number.to_string(),
            Kind::Truth(truth) => truth.to_string(),
            Kind::Other(text) => text.clone(),
            Kind::List(_) => "a list".into(),
            Kind::Table(_) => "a table".into(),
        }
    }

    /// The same value as JSON, for defaults and examples in the schema.
    pub fn json(&self) -> Json {
        match &self.kind {
            Kind::Text(text) | Kind::Other(text) => Json::from(text.as_str()),
            Kind::Whole(number) => Json::from(*number),
            Kind::Truth(truth) => Json::from(*truth),
            Kind::List(items) => items.iter().map(Node::json).collect(),
            Kind::Table(rows) => rows
                .iter()
                .map(|(key, node)| (key.name.clone(), node.json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// Parses a whole file. A syntax error becomes one mistake with its place.
pub fn parse(name: &str, order: u32, text: &str) -> Result<Node, Mistakes> {
    let places = Places::new(name, order, text);
    let document = toml_edit::Document::parse(text).map_err(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        Mistakes::one(places.at(offset), format!("not valid TOML: {message}"))
    })?;
    let mut root = table(document.as_table(), At::whole(name, order), &places);
    root.at.line = 1;
    root.at.column = 1;
    Ok(root)
}

/// Parses one value written in our own source: a default or an example.
pub fn parse_value(text: &str) -> Option<Node> {
    let places = Places::new("default", 0, "");
    text.parse::<Value>()
        .ok()
        .map(|value| node(&value, None, &places))
}

fn table(source: &dyn TableLike, at: At, places: &Places<'_>) -> Node {
    let rows = source
        .iter()
        .filter_map(|(name, item)| {
            let key_at = source
                .key(name)
                .and_then(toml_edit::Key::span)
                .map_or_else(|| at.clone(), |span| places.at(span.start));
            let value = self::item(item, &key_at, places)?;
            let key = Key {
                name: name.to_owned(),
                at: key_at,
            };
            Some((key, value))
        })
        .collect();
    Node {
        kind: Kind::Table(rows),
        at,
    }
}

fn item(item: &Item, key_at: &At, places: &Places<'_>) -> Option<Node> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(node(value, Some(key_at), places)),
        Item::Table(inner) => Some(table(inner, key_at.clone(), places)),
        Item::ArrayOfTables(tables) => {
            let items = tables
                .iter()
                .map(|inner| table(inner, places.start(inner.span(), Some(key_at)), places))
                .collect();
            Some(Node {
                kind: Kind::List(items),
                at: key_at.clone(),
            })
        }
    }
}

fn node(value: &Value, key_at: Option<&At>, places: &Places<'_>) -> Node {
    let at = places.start(value.span(), key_at);
    let kind = match value {
        Value::String(text) => Kind::Text(text.value().clone()),
        Value::Integer(number) => Kind::Whole(*number.value()),
        Value::Boolean(truth) => Kind::Truth(*truth.value()),
        Value::Float(number) => Kind::Other(number.value().to_string()),
        Value::Datetime(date) => Kind::Other(date.value().to_string()),
        Value::Array(items) => Kind::List(
            items
                .iter()
                .map(|inner| node(inner, Some(&at), places))
                .collect(),
        ),
        Value::InlineTable(inner) => return table(inner, at, places),
    };
    Node { kind, at }
}

/// Turns byte offsets into lines and columns.
struct Places<'t> {
    file: Arc<str>,
    order: u32,
    text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Places<'t> {
    fn new(name: &str, order: u32, text: &'t str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0)
            .chain(newlines.map(|(offset, _)| offset + 1))
            .collect();
        Self {
            file: name.into(),
            order,
            text,
            line_starts,
        }
    }

    /// Where a span starts, or where its key does when the parser kept no span.
    fn start(&self, span: Option<Range<usize>>, otherwise: Option<&At>) -> At {
        match (span, otherwise) {
            (Some(span), _) => self.at(span.start),
            (None, Some(at)) => at.clone(),
            (None, None) => self.at(0),
        }
    }

    fn at(&self, offset: usize) -> At {
        let line = self.line_starts.partition_point(|start| *start <= offset) - 1;
        let before = self.text.get(self.line_starts[line]..offset).unwrap_or("");
        At {
            file: Arc::clone(&self.file),
            order: self.order,
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: Option<&Node>) -> (u32, u32) {
        let at = &node.expect("the test's own key").at;
        (at.line, at.column)
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let text = "a = 1\n[b]\n  c = \"ü\" \nd.e = [1,\n 2]\n[[f]]\ng = { h = true }\n[[f]]\n";
        let root = parse("t", 0, text).unwrap();
        let b = root.get("b").unwrap();
        assert_eq!(place(root.get("a")), (1, 5));
        assert_eq!(place(Some(b)), (2, 2));
        assert_eq!(place(b.get("c")), (3, 7));
        let Kind::List(items) = &b.get("d").unwrap().get("e").unwrap().kind else {
            panic!("d.e is a list");
        };
        assert_eq!(place(items.get(1)), (5, 2));
        let Kind::List(tables) = &root.get("f").unwrap().kind else {
            panic!("f is a list");
        };
        assert_eq!(place(tables.first()), (6, 1));
        assert_eq!(place(tables[0].get("g").unwrap().get("h")), (7, 11));
        assert_eq!(place(tables.get(1)), (8, 1));
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let root = parse("t", 0, "a = [\"üüü\", 5]\n").unwrap();
        let Kind::List(items) = &root.get("a").unwrap().kind else {
            panic!("a is a list");
        };
        assert_eq!(place(items.get(1)), (1, 13));
    }

    #[test]
    fn a_syntax_error_is_a_mistake_with_its_place() {
        let mistakes = parse("t.toml", 0, "a = 1\nb = \"open\nc = 2\n").unwrap_err();
        let text = mistakes.to_string();
        assert!(text.starts_with("t.toml:2:"), "{text}");
        assert!(text.contains("not valid TOML: "), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn nesting_without_end_is_refused_by_the_parser() {
        let text = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse("t", 0, &text).is_err());
    }
}
