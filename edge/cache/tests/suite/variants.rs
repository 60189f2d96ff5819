//! Several responses under one key.

use crate::stage::*;
use edge_cache::{Lookup, Missed, Resolved};

const VARIED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
const EN: &[(&str, &str)] = &[("accept-language", "en")];
const FR: &[(&str, &str)] = &[("accept-language", "fr")];

#[test]
fn each_variant_is_stored_and_found_by_its_own_fields() {
    let stage = Stage::new();
    for (fields, body) in [(EN, b"hello"), (FR, b"salut")] {
        let (fill, _reader) = stage.miss_with("/a", fields);
        stage.fill(fill, VARIED, body);
    }
    assert_eq!(stored(&stage.hit_with("/a", EN)), b"hello");
    assert_eq!(stored(&stage.hit_with("/a", FR)), b"salut");
    let lookup = stage.get_with("/a", &[("accept-language", "de")]);
    assert!(matches!(lookup, Lookup::Miss(Missed::Vary, ..)));
}

#[test]
fn a_follower_with_other_fields_is_sent_elsewhere_and_starts_a_fill_of_its_own() {
    let stage = Stage::new();
    let (fill, _leader) = stage.miss_with("/a", EN);
    let same = stage.follow_with("/a", EN);
    let other = stage.follow_with("/a", FR);
    let writer = stage.write(fill, VARIED, None);
    assert!(matches!(
        at_once(same.resolve(&map(EN))),
        Resolved::Live(..)
    ));
    assert!(matches!(
        at_once(other.resolve(&map(FR))),
        Resolved::Elsewhere
    ));
    // Whoever comes now knows at once which fill is for it.
    let (french, _reader) = stage.miss_with("/a", FR);
    stage.follow_with("/a", FR);
    stage.follow_with("/a", EN);
    let (german, _reader) = stage.miss_with("/a", &[("accept-language", "de")]);
    assert_eq!(stage.engine.counters().fills, 3);
    writer.finish().unwrap();
    stage.fill(french, VARIED, b"salut");
    stage.fill(german, VARIED, b"hallo");
    for fields in [EN, FR, &[("accept-language", "de")]] {
        stage.hit_with("/a", fields);
    }
}

#[test]
fn nobody_waits_for_the_fill_of_a_variant_known_to_be_another() {
    let stage = Stage::new();
    let (fill, _reader) = stage.miss_with("/a", EN);
    stage.fill(fill, VARIED, b"hello");
    let (_french, _reader) = stage.miss_with("/a", FR);
    let (_german, _reader) = stage.miss_with("/a", &[("accept-language", "de")]);
    stage.follow_with("/a", FR);
}

#[test]
fn one_key_keeps_a_bounded_number_of_variants() {
    let stage = Stage::new();
    for i in 0..40 {
        let name = i.to_string();
        let (fill, _reader) = stage.miss_with("/a", &[("accept-language", &name)]);
        stage.fill(fill, VARIED, b"x");
    }
    let kept = |i: &i32| {
        let name = i.to_string();
        let lookup = stage.get_with("/a", &[("accept-language", &name)]);
        matches!(lookup, Lookup::Fresh(..))
    };
    let kept: Vec<i32> = (0..40).filter(kept).collect();
    assert_eq!(kept, (24..40).collect::<Vec<_>>());
}

#[test]
fn an_answer_that_was_asked_for_earlier_does_not_take_the_place_of_a_later_one() {
    let stage = Stage::new();
    let (slow, _reader) = stage.miss("/a");
    stage.purge(url("/a"), edge_cache::Mode::Hard);
    stage.store("/a", KEPT, b"new");
    stage.fill(slow, KEPT, b"old");
    assert_eq!(stored(&stage.hit("/a")), b"new");
}

#[test]
fn a_validated_response_is_gone_once_the_origin_sends_another_variant() {
    let stage = Stage::new();
    stage.store(
        "/a",
        &[("cache-control", "max-age=1"), ("etag", "\"a\"")],
        b"any",
    );
    stage.advance(2);
    let Lookup::Stale(_, fill, _reader) = stage.get_with("/a", EN) else {
        panic!("not stale");
    };
    stage.fill(fill, VARIED, b"hello");
    let lookup = stage.get_with("/a", FR);
    assert!(
        matches!(lookup, Lookup::Miss(Missed::Vary, ..)),
        "{lookup:?}"
    );
}
