//! Listings, against a model that is too simple to be wrong.

use std::collections::BTreeSet;

use edge_store::{List, Page, Put};
use futures_util::future::join_all;

use crate::{Fixture, Random, body, fixture};

/// All entries in order, group names included, that come after `after`.
fn model(keys: &BTreeSet<String>, list: &List) -> Vec<String> {
    let group = |key: &str| {
        let delimiter = list.delimiter.as_deref()?;
        let rest = &key[list.prefix.len()..];
        let end = list.prefix.len() + rest.find(delimiter)? + delimiter.len();
        Some(key[..end].to_owned())
    };
    let mut entries = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(&list.prefix)) {
        let group = group(key);
        let wanted = match &list.after {
            Some(after) => key > after && group.as_ref() != Some(after),
            None => true,
        };
        let entry = group.unwrap_or_else(|| key.clone());
        if wanted && entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

fn entries(page: &Page) -> Vec<String> {
    let keys = page.objects.iter().map(|object| object.key.clone());
    let mut all: Vec<_> = keys.chain(page.prefixes.iter().cloned()).collect();
    all.sort();
    all
}

async fn fill(f: &Fixture, keys: &BTreeSet<String>) {
    let puts = keys
        .iter()
        .map(|key| f.store.put("www", key, Put::default(), body(key.clone())));
    for put in join_all(puts).await {
        put.unwrap();
    }
}

fn word(random: &mut Random, max: usize) -> String {
    let letters = ["a", "b", "/", "/", "-", "ü", "\u{10ffff}"];
    (0..1 + random.below(max))
        .map(|_| letters[random.below(letters.len())])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_agree_with_the_model() {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let seed = u64::from_le_bytes(seed) | 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    let f = fixture().await;
    let keys: BTreeSet<String> = (0..300).map(|_| word(&mut random, 7)).collect();
    fill(&f, &keys).await;
    // A neighbour whose keys must never show.
    f.store.create_bucket("zzz").await.unwrap();
    let other = f.store.put("zzz", "a", Put::default(), body("x"));
    other.await.unwrap();

    for _ in 0..150 {
        let mut list = List {
            max: 1 + random.below(20),
            ..List::default()
        };
        if random.below(2) == 0 {
            list.prefix = word(&mut random, 3);
        }
        if random.below(3) > 0 {
            list.delimiter = Some(["/", "-", "ü", "a/", "\u{10ffff}"][random.below(5)].to_owned());
        }
        if random.below(2) == 0 {
            list.after = Some(word(&mut random, 4));
        }
        let want = model(&keys, &list);
        let mut got = Vec::new();
        for _ in 0..=want.len() {
            let page = f.store.list("www", list.clone()).await.unwrap();
            let entries = entries(&page);
            assert!(entries.len() <= list.max);
            got.extend(entries);
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        assert_eq!(got, want, "seed {seed}, {list:?}");
    }
}

#[tokio::test]
async fn a_key_and_keys_below_it_live_together() {
    let f = fixture().await;
    let keys = ["a", "a/b", "a/b/c", "a-"].map(str::to_owned).into();
    fill(&f, &keys).await;
    let page = f.store.list("www", List::default()).await.unwrap();
    assert_eq!(entries(&page), ["a", "a-", "a/b", "a/b/c"]);
    let list = List {
        delimiter: Some("/".into()),
        ..List::default()
    };
    let page = f.store.list("www", list).await.unwrap();
    let objects: Vec<_> = page.objects.iter().map(|o| o.key.as_str()).collect();
    assert_eq!(objects, ["a", "a-"]);
    assert_eq!(page.prefixes, ["a/"]);
    assert_eq!(f.read("a").await.unwrap(), b"a");
    assert_eq!(f.read("a/b").await.unwrap(), b"a/b");
}

#[tokio::test]
async fn a_page_of_nothing_is_empty() {
    let f = fixture().await;
    f.put("a", b"1").await;
    let list = List {
        max: 0,
        ..List::default()
    };
    assert_eq!(f.store.list("www", list).await.unwrap(), Page::default());
    let list = List {
        after: Some("b".into()),
        prefix: "a".into(),
        ..List::default()
    };
    assert_eq!(f.store.list("www", list).await.unwrap(), Page::default());
    assert!(f.store.list("nope", List::default()).await.is_err());
}
