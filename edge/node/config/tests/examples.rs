//! The examples in `config/` at the top of the repository load on any machine.

use std::path::{Path, PathBuf};

use crate::config::{load, print};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

#[test]
fn every_example_loads_and_prints() {
    let mut seen = 0;
    for row in std::fs::read_dir(examples()).unwrap() {
        let path = row.unwrap().path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let loaded = load(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(!loaded.settings.sites.is_empty(), "{}", path.display());
        assert!(!print(&loaded.file).is_empty());
        seen += 1;
    }
    assert_eq!(seen, 4, "an example was added or lost");
}

#[test]
fn included_example_sites_come_after_the_main_file_in_name_order() {
    let loaded = load(&examples().join("several-sites.toml")).unwrap();
    let sites = loaded.settings.sites.iter();
    let names: Vec<_> = sites.map(|site| site.name.clone()).collect();
    assert_eq!(names, ["*", "blog.example", "shop.example"]);
    assert_eq!(loaded.included.len(), 2);
}
