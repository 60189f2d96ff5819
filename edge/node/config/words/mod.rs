//! Values that are written as one string: durations, addresses, patterns, …
//!
//! A word is parsed once, here, into something that cannot be wrong. Each file
//! holds the words of one subject. `choice!` declares a word that is one of a few.

use std::borrow::Cow;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use toml_edit::Item;

use super::mistakes::Mistakes;
use super::section::Field;
use super::tree::{Kind, Node};
use super::value::Value;

pub mod address;
pub mod cache_key;
pub mod duration;
pub mod host_pattern;
pub mod logging;
pub mod origin;
pub mod path_pattern;
pub mod secret;
pub mod size;
pub mod tls;

/// Longest string accepted anywhere.
const TEXT_MAX: usize = 4096;

/// Why a string was refused; empty where "wants this, not that" says it all.
pub type Why = Cow<'static, str>;

/// A value written as one string.
pub trait Word: Sized {
    /// What a mistake says was expected: "a duration".
    const WANTS: &'static str;
    /// Never repeat what was written: it may be a secret put in the wrong place.
    const HIDDEN: bool = false;

    /// Reads it.
    fn parse(text: &str) -> Result<Self, Why>;

    /// Writes it so that `parse` gives the same back.
    fn text(&self) -> String;

    /// Describes it.
    fn schema() -> Json {
        json!({ "type": "string" })
    }

    /// See [`Value::weigh`].
    fn weigh(&self) -> Option<u64> {
        None
    }
}

impl<T: Word> Value for T {
    const WANTS: &'static str = <T as Word>::WANTS;

    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let why = match &node.kind {
            Kind::Text(text) if text.len() > TEXT_MAX => "that is too long".into(),
            Kind::Text(text) => match T::parse(text) {
                Ok(value) => return Some(value),
                Err(why) => why,
            },
            _ => Why::default(),
        };
        if T::HIDDEN {
            let text = format!(
                "`{}` wants {}{}",
                field.name,
                <T as Word>::WANTS,
                field.for_example()
            );
            mistakes.add(&node.at, text);
            return None;
        }
        field.wants(<T as Word>::WANTS, node, &why, mistakes)
    }

    fn schema() -> Json {
        <T as Word>::schema()
    }

    fn print(&self) -> Option<Item> {
        Some(toml_edit::value(self.text()))
    }

    fn weigh(&self) -> Option<u64> {
        Word::weigh(self)
    }

    fn bound(text: &str) -> Option<u64> {
        T::parse(text).ok().as_ref().and_then(Word::weigh)
    }
}

impl Word for String {
    const WANTS: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, Why> {
        match text.is_empty() {
            true => Err(Why::default()),
            false => Ok(text.to_owned()),
        }
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl Word for PathBuf {
    const WANTS: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Why> {
        match text.is_empty() || text.contains('\0') {
            true => Err(Why::default()),
            false => Ok(text.into()),
        }
    }

    fn text(&self) -> String {
        // Paths come from the file as strings, so nothing is lost here.
        self.to_string_lossy().into_owned()
    }
}

/// Declares a word that is one of a few, each with its meaning.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident {
            $(#[doc = $first_doc:literal])+
            $first:ident = $first_text:literal,
            $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = $first_doc])+
            $first,
            $($(#[doc = $doc])+ $variant,)*
        }

        impl $crate::config::words::Word for $name {
            const WANTS: &'static str =
                concat!("\"", $first_text, "\"" $(, " or \"", $text, "\"")*);

            fn parse(text: &str) -> Result<Self, $crate::config::words::Why> {
                match text {
                    $first_text => Ok(Self::$first),
                    $($text => Ok(Self::$variant),)*
                    _ => Err(Default::default()),
                }
            }

            fn text(&self) -> String {
                match self {
                    Self::$first => $first_text.to_owned(),
                    $(Self::$variant => $text.to_owned(),)*
                }
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "string", "enum": [$first_text $(, $text)*] })
            }
        }
    };
}

pub(super) use choice;
