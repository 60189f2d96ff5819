//! `section!` declares one table of the config: its keys, their kinds,
//! defaults, bounds and examples, each said once.
//!
//! The same declaration reads the table, describes it in the schema and
//! prints it. Defaults, bounds and examples are written as in the file
//! (`"10s"`, not a number of milliseconds) and go through the same reader as
//! the file itself. A doc comment on a key is its description in the schema.
//!
//! ```text
//! section! {
//!     /// What the whole table is about.
//!     pub struct Table {
//!         /// What the key means.
//!         header_deadline: Duration = "10s", from "100ms" to "10m";
//!         /// A key without a default that may be left out.
//!         token: Option<SecretSource>, example "env:EDGE_ADMIN_TOKEN";
//!     }
//! }
//! ```

use serde_json::{Map, Value as Json, json};

use super::mistakes::Mistakes;
use super::nearest::nearest;
use super::tree::{self, Kind, Node};
use super::value::{ENTRIES_MAX, Given, Value};

/// A key as declared. Texts are TOML, exactly as one would write them.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// On the left of `=`.
    pub name: &'a str,
    /// From the doc comment.
    pub about: &'a str,
    /// What stands when nobody says.
    pub default: Option<&'a str>,
    /// A good value, where the default is not one.
    pub example: Option<&'a str>,
    /// Least and most, inclusive.
    pub bounds: Option<(&'a str, &'a str)>,
}

impl<'a> Field<'a> {
    /// A field that is only a name: the root, and tables under chosen names.
    pub fn named(name: &'a str) -> Self {
        Self {
            name,
            about: "",
            default: None,
            example: None,
            bounds: None,
        }
    }

    /// Notes that something else was wanted; `why` says more where there is more to say.
    pub fn wants<T>(
        &self,
        wanted: &str,
        node: &Node,
        why: &str,
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let colon = if why.is_empty() { "" } else { ": " };
        let text = format!(
            "`{}` wants {wanted}, not {}{colon}{why}{}",
            self.name,
            node.shown(),
            self.for_example()
        );
        mistakes.add(&node.at, text);
        None
    }

    /// `; for example key = value`, or nothing where no example is known.
    pub fn for_example(&self) -> String {
        match self.example.or(self.default) {
            None | Some("[]" | "{}") => String::new(),
            Some(good) => format!("; for example {} = {good}", self.name),
        }
    }

    /// The most entries a list under this key may have.
    pub fn entries_max(&self) -> usize {
        self.bounds
            .and_then(|(_, most)| most.parse().ok())
            .unwrap_or(ENTRIES_MAX)
    }

    fn default_value<T: Value>(&self) -> Option<T> {
        let node = tree::parse_value(self.default?)?;
        // A default that does not decode shows up as a missing key; a test reads them all.
        T::decode(&node, self, &mut Mistakes::default())
    }

    fn within_bounds<T: Value>(&self, value: &T, node: &Node, mistakes: &mut Mistakes) -> bool {
        let (Some((least, most)), Some(amount)) = (self.bounds, value.weigh()) else {
            return true;
        };
        let (low, high) = (bound::<T>(least), bound::<T>(most));
        if low.is_none_or(|low| amount >= low) && high.is_none_or(|high| amount <= high) {
            return true;
        }
        let shown = match node.kind {
            Kind::List(_) => amount.to_string(),
            _ => node.shown(),
        };
        let text = format!(
            "`{}` must be from {} to {}{}, not {shown}{}",
            self.name,
            least.trim_matches('"'),
            most.trim_matches('"'),
            T::COUNTS,
            self.for_example()
        );
        mistakes.add(&node.at, text);
        false
    }

    fn schema(&self, mut schema: Json) -> Json {
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".into(), about(self.about).into());
            if let Some(node) = self.default.and_then(tree::parse_value) {
                object.insert("default".into(), node.json());
            }
            if let Some(node) = self.example.and_then(tree::parse_value) {
                object.insert("examples".into(), json!([node.json()]));
            }
            if let Some((least, most)) = self.bounds {
                let numbers = least.parse::<u64>().ok().zip(most.parse::<u64>().ok());
                let words = match object.get("type").and_then(Json::as_str) {
                    Some("integer") => Some(("minimum", "maximum")),
                    Some("array") => Some(("minItems", "maxItems")),
                    _ => None,
                };
                if let (Some((low, high)), Some((low_word, high_word))) = (numbers, words) {
                    object.insert(low_word.into(), low.into());
                    object.insert(high_word.into(), high.into());
                }
            }
        }
        schema
    }
}

fn bound<T: Value>(text: &str) -> Option<u64> {
    T::bound(text.trim_matches('"'))
}

/// A doc comment as one paragraph.
fn about(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads the keys of one table; made by `section!`.
pub struct Reader<'a, 'm> {
    node: &'a Node,
    fields: &'static [Field<'static>],
    mistakes: &'m mut Mistakes,
}

impl<'a, 'm> Reader<'a, 'm> {
    /// Checks that it is a table and that every key in it is known.
    pub fn open(
        node: &'a Node,
        field: &Field<'_>,
        fields: &'static [Field<'static>],
        mistakes: &'m mut Mistakes,
    ) -> Option<Self> {
        let Kind::Table(rows) = &node.kind else {
            if field.example.is_some() {
                return field.wants("a table", node, "", mistakes);
            }
            let text = format!(
                "`{0}` wants a table, not {1}; for example [{0}]",
                field.name,
                node.shown()
            );
            mistakes.add(&node.at, text);
            return None;
        };
        for (key, _) in rows {
            if fields.iter().any(|field| field.name == key.name) {
                continue;
            }
            if mistakes.is_full() {
                mistakes.add(&key.at, "");
                continue;
            }
            let names = || fields.iter().map(|field| field.name);
            let hint = match nearest(&key.name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", names().collect::<Vec<_>>().join(", ")),
            };
            mistakes.add(&key.at, format!("unknown key `{}`; {hint}", key.name));
        }
        Some(Self {
            node,
            fields,
            mistakes,
        })
    }

    /// One key. What is wrong or absent falls back to the default, so that the
    /// rest of the file can still be checked against something.
    pub fn take<T: Value>(&mut self, name: &str) -> Option<Given<T>> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        let node = self.node.get(name);
        let at = node.map_or(&self.node.at, |node| &node.at);
        let before = self.mistakes.len();
        let value = node.and_then(|node| {
            let value = T::decode(node, field, self.mistakes)?;
            // A list that lost its wrong entries is not measured without them.
            let whole = self.mistakes.len() == before;
            (!whole || field.within_bounds(&value, node, self.mistakes)).then_some(value)
        });
        let broken = self.mistakes.len() > before;
        let value = value.or_else(|| field.default_value()).or_else(|| {
            // What is already known to be wrong is not reported again as absent.
            let mut said = Mistakes::default();
            T::absent(at, if broken { &mut said } else { self.mistakes })
        });
        if value.is_none() && self.mistakes.len() == before {
            let text = format!("missing key `{name}`{}", field.for_example());
            self.mistakes.add(at, text);
        }
        Some(Given {
            value: value?,
            at: at.clone(),
            written: node.is_some(),
            broken,
        })
    }
}

/// The schema of a table, from its fields and the schemas of their kinds.
pub fn table_schema(doc: &str, rows: Vec<(&Field<'_>, Json, bool)>) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (field, schema, optional) in rows {
        if field.default.is_none() && !optional {
            required.push(field.name.to_owned());
        }
        properties.insert(field.name.to_owned(), field.schema(schema));
    }
    let mut schema = json!({
        "type": "object",
        "description": about(doc),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// Declares one table. See the top of this file.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident : $ty:ty
                    $(= $default:tt)?
                    $(, from $least:tt to $most:tt)?
                    $(, example $example:tt)?
                ;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                pub $field: $crate::config::value::Given<$ty>,
            )+
        }

        impl $name {
            const FIELDS: &'static [$crate::config::section::Field<'static>] = &[
                $($crate::config::section::Field {
                    name: stringify!($field),
                    about: concat!($($doc, "\n"),+),
                    default: section!(@maybe $($default)?),
                    example: section!(@maybe $($example)?),
                    bounds: section!(@bounds $($least $most)?),
                },)+
            ];
        }

        impl $crate::config::value::Value for $name {
            const WANTS: &'static str = "a table";
            const TABLE: bool = true;
            const OPTIONAL: bool = true;

            fn decode(
                node: &$crate::config::tree::Node,
                field: &$crate::config::section::Field<'_>,
                mistakes: &mut $crate::config::mistakes::Mistakes,
            ) -> Option<Self> {
                let mut reader = $crate::config::section::Reader::open(
                    node, field, Self::FIELDS, mistakes,
                )?;
                // All keys are read before the first that failed ends this.
                $(let $field = reader.take::<$ty>(stringify!($field));)+
                Some(Self { $($field: $field?,)+ })
            }

            fn schema() -> serde_json::Value {
                let kinds = [$((
                    <$ty as $crate::config::value::Value>::schema(),
                    <$ty as $crate::config::value::Value>::OPTIONAL,
                ),)+];
                let rows = Self::FIELDS.iter().zip(kinds);
                $crate::config::section::table_schema(
                    concat!($($about, "\n"),+),
                    rows.map(|(field, (schema, optional))| (field, schema, optional)).collect(),
                )
            }

            fn print(&self) -> Option<toml_edit::Item> {
                let mut table = toml_edit::Table::new();
                $(if let Some(item) = $crate::config::value::Value::print(&self.$field) {
                    table.insert(stringify!($field), item);
                })+
                (!table.is_empty()).then_some(toml_edit::Item::Table(table))
            }

            fn absent(
                at: &$crate::config::mistakes::At,
                mistakes: &mut $crate::config::mistakes::Mistakes,
            ) -> Option<Self> {
                let node = $crate::config::tree::Node::empty_table(at);
                Self::decode(&node, &$crate::config::section::Field::named(""), mistakes)
            }
        }
    };
    (@maybe) => { None };
    (@maybe $text:tt) => { Some(stringify!($text)) };
    (@bounds) => { None };
    (@bounds $least:tt $most:tt) => { Some((stringify!($least), stringify!($most))) };
}

pub(super) use section;
