//! `edge store ls` and `edge store buckets`. A listing is written page by page, so it may be of
//! any length.

use super::place::Place;
use super::shelf::{Listed, Page, Query, Shelf};
use crate::cli::{Failure, say};
use clap::Args;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  edge store ls                                the buckets
  edge store ls store://www
  edge store ls store://www/images/ --recursive --json

With --json each line is an object of its own: {\"key\", \"size\", \"etag\", \"last_modified\"} or
{\"prefix\"}.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Ls {
    /// A bucket, or the beginning of keys; without it the buckets are listed.
    #[arg(value_name = "store://BUCKET/PREFIX")]
    place: Option<Place>,
    /// Go down into folders.
    #[arg(long, short)]
    recursive: bool,
    /// Answer in JSON, one object per line.
    #[arg(long)]
    json: bool,
}

impl Ls {
    pub(super) async fn run(self, shelf: &Shelf) -> Result<(), Failure> {
        let Some(place) = self.place else {
            return buckets(shelf, self.json).await;
        };
        let mut query = Query {
            prefix: place.key,
            by_folder: !self.recursive,
            after: None,
        };
        loop {
            let page = shelf.list(&place.bucket, &query).await?;
            say::bytes(shown(&page, self.json).as_bytes())?;
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Lists the buckets.
pub(super) async fn buckets(shelf: &Shelf, as_json: bool) -> Result<(), Failure> {
    let buckets = shelf.buckets().await?;
    if as_json {
        let list: Vec<_> = buckets
            .iter()
            .map(|bucket| json!({ "name": bucket.name, "created": bucket.created }))
            .collect();
        return say::json(&json!({ "buckets": list }));
    }
    buckets
        .iter()
        .try_for_each(|bucket| say::line(&format!("{}  store://{}", bucket.created, bucket.name)))
}

enum Entry<'a> {
    Folder(&'a str),
    Object(&'a Listed),
}

impl Entry<'_> {
    fn key(&self) -> &str {
        match self {
            Entry::Folder(prefix) => prefix,
            Entry::Object(object) => &object.key,
        }
    }
}

/// A page as lines, folders and objects in one order.
fn shown(page: &Page, as_json: bool) -> String {
    let folders = page.prefixes.iter().map(|prefix| Entry::Folder(prefix));
    let mut entries: Vec<_> = folders
        .chain(page.objects.iter().map(Entry::Object))
        .collect();
    entries.sort_by(|a, b| a.key().cmp(b.key()));
    let mut out = String::new();
    for entry in entries {
        let line = match entry {
            Entry::Folder(prefix) if as_json => json!({ "prefix": prefix }).to_string(),
            Entry::Object(object) if as_json => json!({
                "key": object.key,
                "size": object.size,
                "etag": object.etag,
                "last_modified": object.last_modified,
            })
            .to_string(),
            Entry::Folder(prefix) => format!("{:20}  {:>12}  {}", "", "-", say::one_line(prefix)),
            Entry::Object(object) => format!(
                "{:20}  {:>12}  {}",
                object.last_modified,
                object.size,
                say::one_line(&object.key)
            ),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_shown_in_order_with_nothing_a_terminal_would_obey() {
        let object = |key: &str| Listed {
            key: key.to_owned(),
            size: 5,
            etag: "e".to_owned(),
            last_modified: "2023-11-14T22:13:20Z".to_owned(),
        };
        let page = Page {
            objects: vec![object("a.txt"), object("c\u{1b}[2J\n")],
            prefixes: vec!["b/".to_owned()],
            next: None,
        };
        assert_eq!(
            shown(&page, false),
            "2023-11-14T22:13:20Z             5  a.txt\n\
             \u{20}                                -  b/\n\
             2023-11-14T22:13:20Z             5  c\\u{1b}[2J\\n\n"
        );
        let json = shown(&page, true);
        let second: serde_json::Value = serde_json::from_str(json.lines().nth(1).unwrap()).unwrap();
        assert_eq!(second, json!({ "prefix": "b/" }));
        assert_eq!(json.lines().count(), 3);
    }
}
