//! What is wrong with a config, each mistake with its place.
//!
//! Reading never stops at the first mistake: everything found in one pass is
//! collected here, sorted by place and printed one line each. The list is
//! bounded, so a file of nonsense cannot fill a terminal.

use std::fmt;
use std::sync::Arc;

/// More mistakes than this are counted, not kept.
const KEPT_MAX: usize = 100;

/// A place in a config file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The file as it was named by whoever asked for it.
    pub file: Arc<str>,
    /// In which order the file was read: the main file is 0, included ones follow.
    pub order: u32,
    /// 0 means the file as a whole.
    pub line: u32,
    /// 0 means the file as a whole.
    pub column: u32,
}

impl At {
    /// The file as a whole, for what has no line (it cannot be opened, it lacks something).
    pub fn whole(file: &str, order: u32) -> Self {
        Self {
            file: file.into(),
            order,
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One thing that is wrong: where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub at: At,
    /// What is wrong, in one line.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

/// Everything wrong with a config. At most 100 are kept, the rest is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    kept: Vec<Mistake>,
    more: usize,
}

impl Mistakes {
    /// A single mistake, for callers that have no file to read.
    pub fn one(at: At, text: impl Into<String>) -> Self {
        let mut mistakes = Self::default();
        mistakes.add(&at, text);
        mistakes
    }

    /// Notes one more.
    pub fn add(&mut self, at: &At, text: impl Into<String>) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        self.kept.push(Mistake {
            at: at.clone(),
            text: text.into(),
        });
    }

    /// How many were found, kept or not.
    pub fn len(&self) -> usize {
        self.kept.len() + self.more
    }

    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The kept ones.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.kept.iter()
    }

    /// More will only be counted, so their words need not be looked for.
    pub fn is_full(&self) -> bool {
        self.kept.len() == KEPT_MAX
    }

    /// In reading order: by file, line and column.
    pub fn sorted(mut self) -> Self {
        self.kept
            .sort_by_key(|m| (m.at.order, m.at.line, m.at.column));
        self
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.kept.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_mistakes_is_cut_and_counted() {
        let mut mistakes = Mistakes::default();
        let at = At::whole("a.toml", 0);
        for n in 0..150 {
            mistakes.add(&at, format!("mistake {n}"));
        }
        assert_eq!(mistakes.len(), 150);
        let text = mistakes.to_string();
        assert_eq!(text.lines().count(), 101);
        assert!(text.ends_with("a.toml: mistake 99\nand 50 more"));
    }

    #[test]
    fn mistakes_come_out_in_reading_order() {
        let at = |order, line| At {
            file: "f".into(),
            order,
            line,
            column: 1,
        };
        let mut mistakes = Mistakes::default();
        mistakes.add(&at(1, 1), "third");
        mistakes.add(&at(0, 9), "second");
        mistakes.add(&at(0, 2), "first");
        let words: Vec<_> = mistakes.sorted().iter().map(|m| m.text.clone()).collect();
        assert_eq!(words, ["first", "second", "third"]);
    }
}
