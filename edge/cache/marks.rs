//! Purges are marks, not deletions.
//!
//! A mark says "what was fetched before this stamp and fits this selector is
//! purged". A lookup compares one number; only when some mark is newer than the
//! entry's last check are the marks searched, and an entry found clean is
//! stamped so. The table is bounded by folding narrow marks into wider ones:
//! that over-purges, and never forgets.

use crate::entry::Meta;
use crate::stamp::Stamp;
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

/// Marks held before the narrow ones of the fullest host, or the tags, are
/// folded into wider ones. About 100 bytes each.
const MARKS_MAX: usize = 200_000;

/// What a purge is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One URL: both schemes, all variants.
    Url {
        /// Normalised host.
        host: String,
        /// Normalised path and query.
        target: String,
    },
    /// Every path of a host that begins so.
    Prefix {
        /// Normalised host.
        host: String,
        /// The beginning of the path.
        path: String,
    },
    /// Every response that carries this tag.
    Tag(String),
    /// Every response of a host.
    Host(String),
    /// Everything.
    Everything,
}

/// How a purged response may still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Stale: validated before use.
    Soft,
    /// Usable again only after a 304.
    Revalidate,
    /// Gone: never validated, never served again.
    #[default]
    Hard,
}

/// The newest stamp of each mode that fits an entry; 0 where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    soft: u64,
    revalidate: u64,
    hard: u64,
}

impl Levels {
    fn set(&mut self, mode: Mode, stamp: Stamp) {
        let level = match mode {
            Mode::Soft => &mut self.soft,
            Mode::Revalidate => &mut self.revalidate,
            Mode::Hard => &mut self.hard,
        };
        *level = (*level).max(stamp.0);
    }

    fn merge(&mut self, other: Levels) {
        self.soft = self.soft.max(other.soft);
        self.revalidate = self.revalidate.max(other.revalidate);
        self.hard = self.hard.max(other.hard);
    }

    /// The strictest mode that covers something fetched at `stamp`.
    pub(crate) fn covering(self, stamp: Stamp) -> Option<Mode> {
        if self.hard > stamp.0 {
            Some(Mode::Hard)
        } else if self.revalidate > stamp.0 {
            Some(Mode::Revalidate)
        } else if self.soft > stamp.0 {
            Some(Mode::Soft)
        } else {
            None
        }
    }
}

/// Carried by a response with more tags than are heeded: every purge of a tag
/// covers it, since it may be one of those that were dropped.
pub(crate) const ANY_TAG: &str = "\0";

#[derive(Default)]
struct OfHost {
    all: Levels,
    targets: HashMap<String, Levels>,
    /// By their length, so that a target is compared with as many prefixes as
    /// there are lengths, and not with each.
    prefixes: BTreeMap<usize, HashMap<String, Levels>>,
}

impl OfHost {
    fn narrow(&self) -> usize {
        self.targets.len() + self.prefixes.values().map(HashMap::len).sum::<usize>()
    }

    fn fold(&mut self) {
        let prefixes = std::mem::take(&mut self.prefixes);
        let prefixes = prefixes.into_values().flatten();
        for (_, levels) in self.targets.drain().chain(prefixes) {
            self.all.merge(levels);
        }
    }
}

#[derive(Default)]
struct Table {
    everything: Levels,
    /// All marks of tags together.
    any_tag: Levels,
    tags: HashMap<String, Levels>,
    hosts: HashMap<String, OfHost>,
    count: usize,
}

#[derive(Default)]
pub(crate) struct Marks {
    latest: AtomicU64,
    table: RwLock<Table>,
}

impl Marks {
    /// The newest mark of all.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// Sets a mark with the stamp that `next` draws. Visible to every lookup
    /// that starts after this returns.
    ///
    /// The stamp is drawn and made known under the lock: were it not, an entry
    /// could be found clean up to a later mark while this one is on its way,
    /// and would never be compared with it.
    pub(crate) fn set(
        &self,
        selector: Selector,
        mode: Mode,
        next: impl FnOnce() -> Stamp,
    ) -> Stamp {
        let mut table = self.table.write();
        let stamp = next();
        if matches!(selector, Selector::Tag(_)) {
            table.any_tag.set(mode, stamp);
        }
        let before = table.count;
        table.slot(selector).set(mode, stamp);
        if before < table.count && table.count > MARKS_MAX {
            table.fold();
        }
        self.latest.fetch_max(stamp.0, Ordering::Release);
        stamp
    }

    /// Every mark that fits this head.
    pub(crate) fn find(&self, meta: &Meta) -> Levels {
        self.find_for(&meta.host, &meta.target, &meta.tags)
    }

    pub(crate) fn find_for(&self, host: &str, target: &str, tags: &[Box<str>]) -> Levels {
        let table = self.table.read();
        let mut levels = table.everything;
        if let Some(of_host) = table.hosts.get(host) {
            levels.merge(of_host.all);
            if let Some(found) = of_host.targets.get(target) {
                levels.merge(*found);
            }
            for (bytes, prefixes) in &of_host.prefixes {
                let Some(found) = target.get(..*bytes).and_then(|start| prefixes.get(start)) else {
                    continue;
                };
                levels.merge(*found);
            }
        }
        if !table.tags.is_empty() {
            for tag in tags {
                if let Some(found) = table.tags.get(&**tag) {
                    levels.merge(*found);
                }
            }
        }
        if tags.last().is_some_and(|tag| **tag == *ANY_TAG) {
            levels.merge(table.any_tag);
        }
        levels
    }

    /// How many marks are held.
    pub(crate) fn len(&self) -> usize {
        self.table.read().count
    }
}

impl Table {
    fn slot(&mut self, selector: Selector) -> &mut Levels {
        let Table {
            everything,
            tags,
            hosts,
            count,
            ..
        } = self;
        match selector {
            Selector::Everything => everything,
            Selector::Tag(tag) => counted(tags, tag, count),
            Selector::Host(host) => &mut hosts.entry(host).or_insert_with(|| new_host(count)).all,
            Selector::Url { host, target } => {
                let of_host = hosts.entry(host).or_insert_with(|| new_host(count));
                counted(&mut of_host.targets, target, count)
            }
            Selector::Prefix { host, path } => {
                let of_host = hosts.entry(host).or_insert_with(|| new_host(count));
                let of_length = of_host.prefixes.entry(path.len()).or_default();
                counted(of_length, path, count)
            }
        }
    }

    /// Folds the biggest group of narrow marks into wider ones: those of the
    /// fullest host, those of all hosts where none has many, tags, or hosts.
    /// Each way frees a good part of the table, so that folding stays rare.
    fn fold(&mut self) {
        let narrow: usize = self.hosts.values().map(OfHost::narrow).sum();
        if narrow >= self.tags.len().max(self.hosts.len()) {
            let fullest = self
                .hosts
                .values_mut()
                .max_by_key(|of_host| of_host.narrow());
            match fullest {
                Some(of_host) if of_host.narrow() > MARKS_MAX / 16 => of_host.fold(),
                _ => self.hosts.values_mut().for_each(OfHost::fold),
            }
        } else if self.tags.len() > self.hosts.len() {
            self.fold_tags();
        } else {
            self.fold_hosts();
        }
        let narrow: usize = self.hosts.values().map(OfHost::narrow).sum();
        self.count = self.hosts.len() + narrow + self.tags.len();
    }

    fn fold_hosts(&mut self) {
        for (_, mut of_host) in self.hosts.drain() {
            of_host.fold();
            self.everything.merge(of_host.all);
        }
    }

    /// Tags of the node itself name a place, `\0store:bucket/key`, and whoever
    /// carries one carries the tag of the bucket too; other tags have nothing
    /// wider than everything.
    fn fold_tags(&mut self) {
        let mut wider: HashMap<String, Levels> = HashMap::new();
        for (tag, levels) in self.tags.drain() {
            match tag.split_once('/') {
                Some((place, _)) if tag.starts_with('\0') => {
                    wider.entry(place.to_owned()).or_default().merge(levels);
                }
                _ if tag.starts_with('\0') => wider.entry(tag).or_default().merge(levels),
                _ => self.everything.merge(levels),
            }
        }
        if wider.len() > MARKS_MAX / 2 {
            for levels in wider.values() {
                self.everything.merge(*levels);
            }
            wider.clear();
        }
        self.tags = wider;
    }
}

fn new_host(count: &mut usize) -> OfHost {
    *count += 1;
    OfHost::default()
}

fn counted<'a>(
    map: &'a mut HashMap<String, Levels>,
    name: String,
    count: &mut usize,
) -> &'a mut Levels {
    map.entry(name).or_insert_with(|| {
        *count += 1;
        Levels::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str, target: &str) -> Selector {
        Selector::Url {
            host: host.into(),
            target: target.into(),
        }
    }

    fn covered(marks: &Marks, host: &str, target: &str, tags: &[&str], stamp: u64) -> Option<Mode> {
        let tags: Vec<Box<str>> = tags.iter().map(|tag| Box::from(*tag)).collect();
        marks.find_for(host, target, &tags).covering(Stamp(stamp))
    }

    #[test]
    fn each_selector_covers_what_it_names_and_only_what_came_before() {
        let marks = Marks::default();
        marks.set(url("a", "/x?q"), Mode::Soft, || Stamp(10));
        marks.set(
            Selector::Prefix {
                host: "a".into(),
                path: "/img/".into(),
            },
            Mode::Hard,
            || Stamp(20),
        );
        marks.set(Selector::Tag("t".into()), Mode::Revalidate, || Stamp(30));
        marks.set(Selector::Host("b".into()), Mode::Hard, || Stamp(40));
        assert_eq!(covered(&marks, "a", "/x?q", &[], 9), Some(Mode::Soft));
        assert_eq!(covered(&marks, "a", "/x?q", &[], 10), None);
        assert_eq!(covered(&marks, "a", "/x", &[], 9), None);
        assert_eq!(covered(&marks, "a", "/img/1", &[], 9), Some(Mode::Hard));
        assert_eq!(
            covered(&marks, "c", "/", &["s", "t"], 29),
            Some(Mode::Revalidate)
        );
        assert_eq!(covered(&marks, "b", "/", &[], 39), Some(Mode::Hard));
        assert_eq!(covered(&marks, "c", "/", &[], 1), None);
        marks.set(Selector::Everything, Mode::Hard, || Stamp(50));
        assert_eq!(covered(&marks, "c", "/", &[], 49), Some(Mode::Hard));
        assert_eq!(marks.latest(), 50);
    }

    #[test]
    fn the_strictest_mode_wins() {
        let marks = Marks::default();
        marks.set(url("a", "/"), Mode::Hard, || Stamp(10));
        marks.set(url("a", "/"), Mode::Soft, || Stamp(20));
        assert_eq!(covered(&marks, "a", "/", &[], 9), Some(Mode::Hard));
        assert_eq!(covered(&marks, "a", "/", &[], 15), Some(Mode::Soft));
    }

    #[test]
    fn a_full_table_folds_and_forgets_nothing() {
        let marks = Marks::default();
        for i in 0..=MARKS_MAX as u64 {
            marks.set(url("a", &format!("/{i}")), Mode::Hard, || Stamp(i + 1));
        }
        assert!(marks.len() < 10);
        assert_eq!(covered(&marks, "a", "/7", &[], 0), Some(Mode::Hard));
        for i in 0..=MARKS_MAX {
            marks.set(Selector::Tag(format!("\0store:b/{i}")), Mode::Hard, || {
                Stamp(5)
            });
        }
        assert!(marks.len() < 10);
        assert_eq!(
            covered(&marks, "z", "/", &["\0store:b", "\0store:b/7"], 4),
            Some(Mode::Hard)
        );
        assert_eq!(covered(&marks, "z", "/", &["\0store:c"], 4), None);
    }

    #[test]
    fn a_response_that_may_carry_any_tag_is_covered_by_every_purge_of_one() {
        let marks = Marks::default();
        marks.set(Selector::Tag("t".into()), Mode::Soft, || Stamp(10));
        let tags = ["a", ANY_TAG];
        assert_eq!(covered(&marks, "a", "/", &tags, 9), Some(Mode::Soft));
        assert_eq!(covered(&marks, "a", "/", &tags, 10), None);
    }

    #[test]
    fn folding_the_marks_of_many_hosts_stays_rare() {
        let marks = Marks::default();
        let mut folds = 0;
        for i in 0..2 * MARKS_MAX {
            let before = marks.len();
            marks.set(url(&i.to_string(), "/"), Mode::Hard, || Stamp(9));
            folds += usize::from(marks.len() < before);
        }
        assert!(folds < 10, "{folds}");
        assert_eq!(covered(&marks, "7", "/", &[], 8), Some(Mode::Hard));
    }

    #[test]
    fn no_mark_becomes_known_while_an_earlier_one_is_on_its_way() {
        let marks = Marks::default();
        marks.set(url("a", "/"), Mode::Hard, || {
            assert!(marks.table.try_read().is_none());
            Stamp(10)
        });
        assert_eq!(marks.latest(), 10);
    }
}
