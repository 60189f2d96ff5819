//! The printed config reads back to the settings it was printed from.

use super::{EVERYTHING, LISTEN, load};
use crate::config::print;

#[test]
fn what_is_printed_reads_back_to_the_same_settings() {
    let site = "[[site]]\nhosts = [\"a\"]\norigin = \"store://www\"\n";
    let only = "[site.cache]\nkey = { query_only = [] }\n";
    let none = "[[site.route]]\npath = \"/b\"\ncache = { key = { query_ignore = [] } }\n";
    let table = [
        LISTEN.to_owned(),
        EVERYTHING.clone(),
        format!("{LISTEN}cache.memory = \"8MiB\"\nguard.head_max = \"4KiB\"\n{site}"),
        format!("{LISTEN}{site}{only}{none}"),
    ];
    for text in table {
        let first = load(&text).unwrap();
        let printed = print(&first.file);
        let second = load(&printed).unwrap_or_else(|wrong| panic!("{wrong}\n{printed}"));
        assert_eq!(first.settings, second.settings, "{printed}");
        assert_eq!(printed, print(&second.file));
    }
}

#[test]
fn a_secret_is_printed_by_where_it_is_kept() {
    let printed = print(&load(&EVERYTHING).unwrap().file);
    assert!(printed.contains("token = \"env:PATH\""), "{printed}");
    assert!(!printed.contains(&std::env::var("PATH").unwrap()));
}

#[test]
fn every_default_is_printed() {
    let printed = print(&load(LISTEN).unwrap().file);
    for line in [
        "data = \"edge-data\"",
        "memory = \"256MiB\"",
        "object_max = \"64MiB\"",
        "header_deadline = \"10s\"",
        "total = 50000",
        "trusted_proxies = []",
        "reserve = \"1GiB\"",
        "access = \"stdout\"",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
}
