//! Purges before, during and after a fill.

use crate::stage::*;
use edge_cache::{Lookup, Missed, Mode, Resolved, Selector, Why};

const MODES: [Mode; 3] = [Mode::Soft, Mode::Revalidate, Mode::Hard];
const FIELDS: &[(&str, &str)] = &[
    ("cache-control", "max-age=60"),
    ("etag", "\"a\""),
    ("surrogate-key", "s t"),
];

/// Each selector that covers `/img/a`, and some that do not.
fn selectors() -> Vec<(Selector, bool)> {
    let host = || HOST.to_owned();
    let prefix = |path: &str| Selector::Prefix {
        host: host(),
        path: path.into(),
    };
    vec![
        (url("/img/a"), true),
        (prefix("/img/"), true),
        (prefix("/"), true),
        (Selector::Tag("t".into()), true),
        (Selector::Host(host()), true),
        (Selector::Everything, true),
        (url("/img/b"), false),
        (url("/img/a?x"), false),
        (prefix("/img/ab"), false),
        (prefix("/js"), false),
        (Selector::Tag("u".into()), false),
        (Selector::Host("b.example".into()), false),
    ]
}

#[test]
fn a_purge_after_the_fill_covers_what_it_names_and_nothing_else() {
    for mode in MODES {
        for (selector, covers) in selectors() {
            let stage = Stage::new();
            stage.store("/img/a", FIELDS, b"hello");
            stage.purge(selector.clone(), mode);
            let lookup = stage.get("/img/a");
            let case = format!("{selector:?} {mode:?} {lookup:?}");
            match (covers, mode) {
                (false, _) => assert!(matches!(lookup, Lookup::Fresh(..)), "{case}"),
                (true, Mode::Hard) => {
                    assert!(matches!(lookup, Lookup::Miss(Missed::Purged, ..)), "{case}");
                }
                (true, _) => assert!(matches!(lookup, Lookup::Stale(..)), "{case}"),
            }
        }
    }
}

#[test]
fn a_purge_before_the_fill_does_not_touch_it() {
    for mode in MODES {
        for (selector, _) in selectors() {
            let stage = Stage::new();
            stage.purge(selector, mode);
            stage.store("/img/a", FIELDS, b"hello");
            stage.hit("/img/a");
        }
    }
}

#[test]
fn a_purge_during_the_fill_covers_it_wherever_it_comes() {
    for mode in MODES {
        for (selector, covers) in selectors() {
            for step in 0..3 {
                let stage = Stage::new();
                let (fill, _leader) = stage.miss("/img/a");
                let purge = |at| {
                    if at == step {
                        stage.purge(selector.clone(), mode);
                    }
                };
                purge(0);
                let mut writer = stage.write(fill, FIELDS, Some(5));
                purge(1);
                assert!(at_once(writer.push(bytes::Bytes::from_static(b"hello"))));
                purge(2);
                writer.finish().unwrap();
                let lookup = stage.get("/img/a");
                let fresh = matches!(lookup, Lookup::Fresh(..));
                assert_eq!(fresh, !covers, "{selector:?} {mode:?} {step} {lookup:?}");
            }
        }
    }
}

#[test]
fn who_came_before_a_purge_may_have_what_was_fetched_before_it_and_who_came_after_may_not() {
    for mode in MODES {
        for (selector, _) in selectors().into_iter().filter(|(_, covers)| *covers) {
            let stage = Stage::new();
            let (fill, leader) = stage.miss("/img/a");
            let before = stage.follow("/img/a");
            stage.purge(selector.clone(), mode);
            let case = format!("{selector:?} {mode:?}");
            // The tags of an answer are not known before its head is there.
            let after = match (stage.get("/img/a"), &selector) {
                (Lookup::Follow(reader), Selector::Tag(_)) => Some(reader),
                (Lookup::Miss(..), Selector::Tag(_)) => panic!("{case}: knows tags too early"),
                (Lookup::Miss(..), _) => None,
                (other, _) => panic!("{case}: {other:?}"),
            };
            let writer = stage.write(fill, FIELDS, Some(0));
            for reader in [leader, before] {
                let resolved = at_once(reader.resolve(&map(&[])));
                assert!(
                    matches!(resolved, Resolved::Live(..)),
                    "{case}: {resolved:?}"
                );
            }
            if let Some(reader) = after {
                let resolved = at_once(reader.resolve(&map(&[])));
                assert!(
                    matches!(resolved, Resolved::Elsewhere),
                    "{case}: {resolved:?}"
                );
            }
            assert!(matches!(stage.get("/img/a"), Lookup::Miss(..)), "{case}");
            writer.finish().unwrap();
        }
    }
}

#[test]
fn a_second_purge_does_not_hide_the_one_before_the_request() {
    let stage = Stage::new();
    let tag = || Selector::Tag("t".into());
    let (fill, _leader) = stage.miss("/a");
    stage.purge(tag(), Mode::Hard);
    let after = stage.follow("/a");
    stage.purge(tag(), Mode::Hard);
    let _writer = stage.write(fill, TAGGED, Some(0));
    assert!(matches!(
        at_once(after.resolve(&map(&[]))),
        Resolved::Elsewhere
    ));
}

#[test]
fn a_304_clears_a_soft_purge_that_came_before_its_request_and_no_later_one() {
    for mode in [Mode::Soft, Mode::Revalidate] {
        let stage = Stage::new();
        stage.store("/a", FIELDS, b"hello");
        stage.purge(url("/a"), mode);
        let (_, fill, _leader) = stage.stale("/a");
        stage.answer(fill, 304, &[], None);
        stage.hit("/a");
        stage.purge(url("/a"), mode);
        let (_, fill, _leader) = stage.stale("/a");
        stage.purge(url("/a"), mode);
        stage.answer(fill, 304, &[], None);
        stage.stale("/a");
    }
}

#[test]
fn a_soft_purge_after_a_hard_one_does_not_bring_anything_back() {
    let stage = Stage::new();
    stage.store("/a", FIELDS, b"hello");
    stage.purge(url("/a"), Mode::Hard);
    stage.purge(Selector::Everything, Mode::Soft);
    assert!(matches!(stage.get("/a"), Lookup::Miss(Missed::Purged, ..)));
}

#[test]
fn all_variants_of_a_url_are_purged() {
    let stage = Stage::new();
    let varied = [("cache-control", "max-age=60"), ("vary", "x-v")];
    for name in ["1", "2"] {
        let (fill, _leader) = stage.miss_with("/a", &[("x-v", name)]);
        stage.fill(fill, &varied, name.as_bytes());
    }
    stage.purge(url("/a"), Mode::Hard);
    for name in ["1", "2"] {
        let lookup = stage.get_with("/a", &[("x-v", name)]);
        assert!(
            matches!(lookup, Lookup::Miss(Missed::Purged, ..)),
            "{lookup:?}"
        );
    }
}

#[test]
fn a_purge_makes_a_remembered_key_ask_again() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    declined(stage.answer(fill, 200, &[("cache-control", "no-store")], None));
    assert_eq!(stage.pass("/a"), Why::Remembered);
    stage.purge(url("/b"), Mode::Hard);
    assert_eq!(stage.pass("/a"), Why::Remembered);
    stage.purge(url("/a"), Mode::Soft);
    stage.miss("/a");
}

#[test]
fn own_tags_are_purged_and_cannot_be_written_by_an_origin() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss("/a");
    let own = vec!["\0store:www".to_owned()];
    let decision = fill.answered(&head(200, KEPT), true, Some(0), own, stage.now());
    let edge_cache::Decision::Write(writer) = decision else {
        panic!("not written");
    };
    writer.finish().unwrap();
    stage.purge(Selector::Tag("store:www".into()), Mode::Hard);
    stage.hit("/a");
    stage.purge(Selector::Tag("\0store:www".into()), Mode::Hard);
    stage.miss("/a");
}
