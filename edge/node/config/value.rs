//! What every kind of value in the config can do: be read, be described in
//! the schema, and be printed.
//!
//! Here are the trait and the containers (`Option`, `Vec`, `Named`, `Given`)
//! with plain numbers and truths. Values that are one string stand in
//! `words/`, tables are declared with `section!`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde_json::{Value as Json, json};
use toml_edit::{Array, ArrayOfTables, Item};

use super::mistakes::{At, Mistakes};
use super::section::Field;
use super::tree::{Key, Kind, Node};

/// Lists and named tables without a bound of their own stop here.
pub const ENTRIES_MAX: usize = 1000;

/// More names than this in one table of names (`[origins]`) are refused.
const NAMES_MAX: usize = 10_000;
/// Longest name in a table of names.
const NAME_MAX: usize = 64;

/// One kind of value.
pub trait Value: Sized {
    /// What a mistake says was expected: "a duration".
    const WANTS: &'static str;
    /// Written as a table, so an example of it is a header.
    const TABLE: bool = false;
    /// May be left out even without a default.
    const OPTIONAL: bool = false;
    /// What the bounds of a field of this kind count.
    const COUNTS: &'static str = "";

    /// Reads it. `None` means a mistake has been noted.
    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self>;

    /// Describes it, JSON Schema draft 2020-12.
    fn schema() -> Json;

    /// Writes it. `None` means there is nothing to write.
    fn print(&self) -> Option<Item>;

    /// What stands when the key is absent and has no default. `None` means the key is required.
    fn absent(_at: &At, _mistakes: &mut Mistakes) -> Option<Self> {
        None
    }

    /// Its amount, to compare with the bounds of its field.
    fn weigh(&self) -> Option<u64> {
        None
    }

    /// A bound as written in a declaration, in the unit of `weigh`.
    fn bound(text: &str) -> Option<u64> {
        text.parse().ok()
    }
}

impl Value for bool {
    const WANTS: &'static str = "true or false";

    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        match node.kind {
            Kind::Truth(truth) => Some(truth),
            _ => field.wants(Self::WANTS, node, "", mistakes),
        }
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn print(&self) -> Option<Item> {
        Some(toml_edit::value(*self))
    }
}

impl Value for usize {
    const WANTS: &'static str = "a whole number";

    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        match node.kind {
            Kind::Whole(number) => usize::try_from(number).ok(),
            _ => None,
        }
        .or_else(|| field.wants(Self::WANTS, node, "", mistakes))
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 0 })
    }

    fn print(&self) -> Option<Item> {
        Some(toml_edit::value(i64::try_from(*self).unwrap_or(i64::MAX)))
    }

    fn weigh(&self) -> Option<u64> {
        u64::try_from(*self).ok()
    }
}

impl<T: Value> Value for Option<T> {
    const WANTS: &'static str = T::WANTS;
    const TABLE: bool = T::TABLE;
    const OPTIONAL: bool = true;
    const COUNTS: &'static str = T::COUNTS;

    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        T::decode(node, field, mistakes).map(Some)
    }

    fn schema() -> Json {
        T::schema()
    }

    fn print(&self) -> Option<Item> {
        self.as_ref().and_then(T::print)
    }

    fn absent(_at: &At, _mistakes: &mut Mistakes) -> Option<Self> {
        Some(None)
    }

    fn weigh(&self) -> Option<u64> {
        self.as_ref().and_then(T::weigh)
    }

    fn bound(text: &str) -> Option<u64> {
        T::bound(text)
    }
}

impl<T: Value> Value for Vec<T> {
    const WANTS: &'static str = "a list";
    const COUNTS: &'static str = " entries";

    /// Wrong entries are noted and left out; the others are kept, so that what
    /// depends on them is still checked.
    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            if T::TABLE {
                let text = format!(
                    "`{0}` wants one table per entry, not {1}; for example [[{0}]]",
                    field.name,
                    node.shown()
                );
                mistakes.add(&node.at, text);
                return None;
            }
            return field.wants("a list", node, "", mistakes);
        };
        if items.len() > field.entries_max() {
            // The bounds of the field are checked on what is returned; this only
            // spares us from reading a list that is refused anyway.
            let text = format!(
                "`{}` has {} entries; the most is {}",
                field.name,
                items.len(),
                field.entries_max()
            );
            mistakes.add(&node.at, text);
            return None;
        }
        Some(
            items
                .iter()
                .filter_map(|item| T::decode(item, field, mistakes))
                .collect(),
        )
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn print(&self) -> Option<Item> {
        let items = self.iter().filter_map(T::print);
        if T::TABLE {
            let mut tables = ArrayOfTables::new();
            items
                .filter_map(|item| item.into_table().ok())
                .for_each(|table| tables.push(table));
            return (!tables.is_empty()).then_some(Item::ArrayOfTables(tables));
        }
        let values: Array = items.filter_map(|item| item.into_value().ok()).collect();
        Some(toml_edit::value(values))
    }

    fn weigh(&self) -> Option<u64> {
        u64::try_from(self.len()).ok()
    }
}

/// A value together with where it was said.
#[derive(Debug, Clone)]
pub struct Given<T> {
    /// What was said, or the default.
    pub value: T,
    /// Where; for a default, the table that could have said it.
    pub at: At,
    /// Somebody wrote it.
    pub written: bool,
    /// What was written is wrong and already noted: say no more about it.
    pub broken: bool,
}

impl<T> Deref for Given<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Value> Value for Given<T> {
    const WANTS: &'static str = T::WANTS;
    const TABLE: bool = T::TABLE;
    const OPTIONAL: bool = T::OPTIONAL;
    const COUNTS: &'static str = T::COUNTS;

    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let before = mistakes.len();
        let value = T::decode(node, field, mistakes)?;
        Some(Self {
            value,
            at: node.at.clone(),
            written: true,
            broken: mistakes.len() > before,
        })
    }

    fn schema() -> Json {
        T::schema()
    }

    fn print(&self) -> Option<Item> {
        self.value.print()
    }
}

/// Tables under names of the operator's choosing, as in `[origins.app]`.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// What could be read.
    pub tables: BTreeMap<String, Given<T>>,
    /// Every name written, also those whose table is wrong.
    pub names: BTreeSet<String>,
}

impl<T: Value> Value for Named<T> {
    const WANTS: &'static str = "a table of names";
    const TABLE: bool = true;

    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let Kind::Table(rows) = &node.kind else {
            return field.wants(Self::WANTS, node, "", mistakes);
        };
        if rows.len() > NAMES_MAX {
            let text = format!("`{}` has more than {NAMES_MAX} names", field.name);
            mistakes.add(&node.at, text);
            return None;
        }
        let mut tables = BTreeMap::new();
        let mut names = BTreeSet::new();
        for (key, inner) in rows {
            names.insert(key.name.clone());
            check_name(key, mistakes);
            let path = format!("{}.{}", field.name, key.name);
            if let Some(table) = Given::decode(inner, &Field::named(&path), mistakes) {
                tables.insert(key.name.clone(), table);
            }
        }
        Some(Self { tables, names })
    }

    fn schema() -> Json {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9_-]{1,64}$" },
            "additionalProperties": T::schema(),
        })
    }

    fn print(&self) -> Option<Item> {
        let mut table = toml_edit::Table::new();
        table.set_implicit(true);
        for (name, inner) in &self.tables {
            if let Some(item) = inner.print() {
                table.insert(name, item);
            }
        }
        (!table.is_empty()).then_some(Item::Table(table))
    }
}

/// Is this a name we accept for an origin, here and where it is referred to?
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn check_name(key: &Key, mistakes: &mut Mistakes) {
    if !is_name(&key.name) {
        let text = format!(
            "{:?} cannot be a name: use 1 to {NAME_MAX} letters, digits, - and _",
            key.name
        );
        mistakes.add(&key.at, text);
    }
}
