//! Stale responses and the 304s that renew them.

use crate::stage::*;
use bytes::Bytes;
use edge_cache::{Decision, Lookup, Mode, Resolved, Rules, Verdict, Why};
use std::sync::Arc;

const TAGGED_A: &[(&str, &str)] = &[
    ("cache-control", "max-age=60"),
    ("etag", "\"a\""),
    ("x-a", "1"),
];

fn stale_stage() -> Stage {
    let stage = Stage::new();
    stage.store("/a", TAGGED_A, b"hello");
    stage.advance(60);
    stage
}

#[test]
fn a_304_refreshes_the_head_and_keeps_the_body() {
    let stage = stale_stage();
    let (entry, fill, leader) = stage.stale("/a");
    let follower = stage.follow("/a");
    assert!(Arc::ptr_eq(fill.stale().unwrap(), &entry));
    let fields = [
        ("etag", "\"a\""),
        ("cache-control", "max-age=30"),
        ("x-a", "2"),
    ];
    let decision = stage.answer(fill, 304, &fields, None);
    assert!(matches!(decision, Decision::Done(Verdict::Refreshed)));
    for reader in [leader, follower] {
        let Resolved::Stored(got) = at_once(reader.resolve(&map(&[]))) else {
            panic!("not stored");
        };
        assert!(Arc::ptr_eq(&got.body, &entry.body));
        assert_eq!(
            (got.meta.status.as_u16(), &got.meta.fields["x-a"]),
            (200, &"2".parse().unwrap())
        );
    }
    stage.advance(29);
    assert!(Arc::ptr_eq(&stage.hit("/a").body, &entry.body));
    stage.advance(1);
    stage.stale("/a");
    assert_eq!(stage.engine.counters().fills, 0);
}

#[test]
fn a_304_about_another_response_is_asked_again_without_conditions() {
    let stage = stale_stage();
    let (_, fill, leader) = stage.stale("/a");
    let follower = stage.follow("/a");
    let fill = again(stage.answer(fill, 304, &[("etag", "\"b\"")], None));
    assert!(fill.stale().is_none());
    assert!(now_or_never(follower.resolve(&map(&[]))).is_none());
    // A second 304 has nothing left to renew, and the fill ends.
    assert_eq!(
        declined(stage.answer(fill, 304, &[("etag", "\"b\"")], None)),
        Why::Status
    );
    assert!(matches!(
        at_once(leader.resolve(&map(&[]))),
        Resolved::Declined(_)
    ));
    assert!(matches!(stage.get("/a"), Lookup::Miss(..)));
}

#[test]
fn a_304_that_forbids_keeping_renews_nothing() {
    for field in [
        ("cache-control", "no-store"),
        ("cache-control", "private"),
        ("set-cookie", "a=b"),
    ] {
        let stage = stale_stage();
        let (_, fill, _leader) = stage.stale("/a");
        let fill = again(stage.answer(fill, 304, &[("etag", "\"a\""), field], None));
        drop(fill);
        assert!(matches!(stage.get("/a"), Lookup::Miss(..)), "{field:?}");
    }
}

#[test]
fn connection_fields_of_a_304_are_not_stored() {
    let stage = stale_stage();
    let (_, fill, _leader) = stage.stale("/a");
    let fields = [
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("x-b", "2"),
    ];
    assert!(matches!(
        stage.answer(fill, 304, &fields, None),
        Decision::Done(Verdict::Refreshed)
    ));
    let fields = &stage.hit("/a").meta.fields;
    assert_eq!(fields["x-b"], "2");
    assert!(!fields.contains_key("x-hop") && !fields.contains_key("keep-alive"));
}

#[test]
fn a_full_answer_takes_the_place_of_what_was_stale() {
    let stage = stale_stage();
    let (_, fill, leader) = stage.stale("/a");
    stage.fill(fill, TAGGED_A, b"other");
    assert_eq!(stored(&stage.hit("/a")), b"other");
    assert!(matches!(
        at_once(leader.resolve(&map(&[]))),
        Resolved::Live(..)
    ));
}

#[test]
fn a_body_that_breaks_leaves_the_stale_response_to_be_validated_again() {
    let stage = stale_stage();
    let (_, fill, _leader) = stage.stale("/a");
    let mut writer = stage.write(fill, TAGGED_A, Some(5));
    assert!(at_once(writer.push(Bytes::from_static(b"ot"))));
    drop(writer);
    assert_eq!(stored(&stage.stale("/a").0), b"hello");
}

#[test]
fn what_the_origin_no_longer_lets_us_keep_is_dropped() {
    let stage = stale_stage();
    let (_, fill, _leader) = stage.stale("/a");
    declined(stage.answer(fill, 200, &[("cache-control", "no-store")], None));
    stage.passed_by("/a", KEPT, Some(1));
    assert!(matches!(stage.get("/a"), Lookup::Miss(..)));
}

#[test]
fn trouble_at_the_origin_does_not_cost_what_is_stored() {
    let stage = stale_stage();
    let (_, fill, _leader) = stage.stale("/a");
    assert_eq!(declined(stage.answer(fill, 503, &[], None)), Why::Status);
    assert_eq!(stored(&stage.stale("/a").0), b"hello");
    let (_, fill, _leader) = stage.stale("/a");
    fill.fail(oops());
    assert_eq!(stored(&stage.stale("/a").0), b"hello");
}

#[test]
fn without_a_validator_there_is_nothing_to_ask_with() {
    let stage = Stage::new();
    stage.store("/a", KEPT, b"hello");
    stage.advance(60);
    let (fill, _leader) = stage.miss("/a");
    assert!(fill.stale().is_none());
}

#[test]
fn no_cache_is_validated_each_time_and_shared_only_by_those_who_came_before_its_head() {
    let stage = Stage::new();
    let fields = [("cache-control", "no-cache"), ("etag", "\"a\"")];
    let (fill, _leader) = stage.miss("/a");
    let early = stage.follow("/a");
    let mut writer = stage.write(fill, &fields, None);
    assert!(at_once(writer.push(Bytes::from_static(b"hello"))));
    let (second, _reader) = stage.miss("/a");
    drop(second);
    writer.finish().unwrap();
    let mut early = live(at_once(early.resolve(&map(&[]))));
    assert_eq!(at_once(read(&mut early)).unwrap(), b"hello");
    stage.stale("/a");
    stage.stale("/a");
}

#[test]
fn a_routes_own_time_counts_from_arrival() {
    let rules = Rules {
        ttl: Some(std::time::Duration::from_secs(10)),
        ..Rules::default()
    };
    let stage = Stage::ruled(SETTINGS, rules);
    stage.store(
        "/a",
        &[("cache-control", "max-age=1"), ("age", "500")],
        b"hello",
    );
    stage.advance(9);
    stage.hit("/a");
    stage.advance(1);
    stage.miss("/a");
}

#[test]
fn a_304_for_what_was_purged_for_good_meanwhile_is_asked_again() {
    let stage = stale_stage();
    let (_, fill, _leader) = stage.stale("/a");
    stage.purge(url("/a"), Mode::Hard);
    let fill = again(stage.answer(fill, 304, &[("etag", "\"a\"")], None));
    stage.fill(fill, TAGGED_A, b"other");
    // What was fetched began before the purge as well.
    assert!(matches!(stage.get("/a"), Lookup::Miss(..)));
}
