//! Listing a bucket, page by page, in byte order of the keys.
//!
//! One page is one short read transaction. With a delimiter, everything between
//! the prefix and the next delimiter becomes one group, and the listing jumps
//! over a group instead of walking through it: a page costs as many seeks as it
//! has entries, however many keys the groups hold.

use std::ops::Bound;
use std::time::SystemTime;

use redb::ReadOnlyTable;

use crate::counters::count;
use crate::error::Error;
use crate::meta::{self, OBJECTS};
use crate::row::Row;
use crate::store::{Shared, Store, blocking};

/// Most entries on one page; S3's limit.
pub const PAGE_MAX: usize = 1000;

/// What to list.
#[derive(Clone, Debug)]
pub struct List {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only what comes after this: a key, or a group, whose keys are then all
    /// skipped. [`Page::next`] goes here.
    pub after: Option<String>,
    /// Groups keys by what precedes this; usually `/`.
    pub delimiter: Option<String>,
    /// Entries wanted, objects and groups together; at most [`PAGE_MAX`].
    pub max: usize,
}

impl Default for List {
    fn default() -> List {
        List {
            prefix: String::new(),
            after: None,
            delimiter: None,
            max: PAGE_MAX,
        }
    }
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects that are in no group.
    pub objects: Vec<Listed>,
    /// Groups, each ending with the delimiter.
    pub prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// An object, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag without quotes.
    pub etag: String,
    /// When it was written, in whole seconds.
    pub last_modified: SystemTime,
}

const DOING: &str = "listing a bucket";

impl Store {
    /// One page of a bucket's keys.
    pub async fn list(&self, bucket: &str, list: List) -> Result<Page, Error> {
        let (shared, bucket) = (self.shared.clone(), bucket.to_owned());
        blocking(move || page(&shared, &bucket, list)).await
    }
}

fn page(shared: &Shared, bucket: &str, list: List) -> Result<Page, Error> {
    let transaction = shared.meta.read()?;
    let number = meta::bucket_number(&transaction, bucket)?;
    let table = transaction
        .open_table(OBJECTS)
        .map_err(Error::metadata(DOING))?;
    count(&shared.tally.lists);

    let delimiter = list.delimiter.filter(|delimiter| !delimiter.is_empty());
    let group_of = |key: &str| -> Option<usize> {
        let delimiter = delimiter.as_deref()?;
        let rest = key.strip_prefix(list.prefix.as_str())?;
        Some(list.prefix.len() + rest.find(delimiter)? + delimiter.len())
    };
    let max = list.max.min(PAGE_MAX);
    let mut walk = Walk {
        table,
        number,
        prefix: list.prefix.as_bytes(),
    };
    let mut from = start(&list.prefix, list.after.as_deref(), group_of);
    let mut page = Page::default();
    let mut last = None;
    if max == 0 {
        return Ok(page);
    }
    // Each turn walks object by object until a group is met, then jumps over it.
    'seek: loop {
        for row in walk.rows(&from)? {
            let (key, value) = row.map_err(Error::metadata(DOING))?;
            let key = text(key.value().1, bucket)?;
            if !key.starts_with(&list.prefix) {
                break 'seek;
            }
            if page.objects.len() + page.prefixes.len() == max {
                page.next = last;
                break 'seek;
            }
            if let Some(end) = group_of(&key) {
                let group = key[..end].to_owned();
                from = Bound::Included(after_all(group.as_bytes()));
                last = Some(group.clone());
                page.prefixes.push(group);
                continue 'seek;
            }
            page.objects
                .push(listed(key.clone(), value.value(), bucket)?);
            last = Some(key);
        }
        break;
    }
    Ok(page)
}

/// Where the page begins.
fn start(
    prefix: &str,
    after: Option<&str>,
    group_of: impl Fn(&str) -> Option<usize>,
) -> Bound<Vec<u8>> {
    match after {
        Some(after) if after >= prefix => {
            if group_of(after) == Some(after.len()) {
                Bound::Included(after_all(after.as_bytes()))
            } else {
                Bound::Excluded(after.as_bytes().to_vec())
            }
        }
        _ => Bound::Included(prefix.as_bytes().to_vec()),
    }
}

/// The first byte string after everything that begins with `group`, which is
/// text and not empty: no byte of UTF-8 is 0xff, so its last one can grow.
fn after_all(group: &[u8]) -> Vec<u8> {
    let mut next = group.to_vec();
    if let Some(last) = next.last_mut() {
        *last = last.saturating_add(1);
    }
    next
}

struct Walk<'p> {
    table: ReadOnlyTable<(u64, &'static [u8]), &'static [u8]>,
    number: u64,
    prefix: &'p [u8],
}

type Rows = redb::Range<'static, (u64, &'static [u8]), &'static [u8]>;

impl Walk<'_> {
    /// The bucket's rows from here on, no further than the prefix reaches.
    fn rows(&mut self, from: &Bound<Vec<u8>>) -> Result<Rows, Error> {
        let from = from.as_ref().map(|key| (self.number, key.as_slice()));
        let end = after_all(self.prefix);
        let end = if self.prefix.is_empty() {
            (self.number.saturating_add(1), &[][..])
        } else {
            (self.number, end.as_slice())
        };
        // A range that ends before it begins is a caller's mistake to redb.
        if let Bound::Included(start) | Bound::Excluded(start) = &from
            && *start >= end
        {
            let nothing = (self.number, &[][..]);
            return self
                .table
                .range(nothing..nothing)
                .map_err(Error::metadata(DOING));
        }
        self.table
            .range((from, Bound::Excluded(end)))
            .map_err(Error::metadata(DOING))
    }
}

fn text(key: &[u8], bucket: &str) -> Result<String, Error> {
    let what = || format!("the list of keys of bucket `{bucket}`");
    String::from_utf8(key.to_vec()).map_err(|_| Error::damaged(what(), "a key is no UTF-8"))
}

fn listed(key: String, row: &[u8], bucket: &str) -> Result<Listed, Error> {
    let row = Row::decode(row).map_err(|why| {
        let what = format!("object `{}` in bucket `{bucket}`", key.escape_debug());
        Error::damaged(what, why)
    })?;
    Ok(Listed {
        key,
        size: row.info.size,
        etag: row.info.etag,
        last_modified: row.info.last_modified,
    })
}
