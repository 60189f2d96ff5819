//! The example configs, and the files beside them that a package installs.

use crate::EDGE;
use edge_testkit::run;
use std::path::{Path, PathBuf};

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name)
}

#[test]
fn every_example_config_is_good() {
    let examples: Vec<_> = std::fs::read_dir(config(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    assert!(examples.len() >= 4, "{examples:?}");
    for example in examples {
        let finished = run(EDGE, ["check", example.to_str().unwrap()]);
        assert_eq!(
            finished.code,
            Some(0),
            "{}: {}",
            example.display(),
            finished.stderr
        );
    }
}

#[test]
fn the_units_and_the_container_start_the_node_in_a_way_it_understands() {
    for (file, start) in [
        ("edge.service", "ExecStart="),
        ("Containerfile", "ENTRYPOINT"),
    ] {
        let text = std::fs::read_to_string(config(file)).unwrap();
        let line = text.lines().find(|line| line.starts_with(start));
        assert!(
            line.is_some_and(|line| line.contains("edge")),
            "{file} has no {start}"
        );
    }
    let unit = std::fs::read_to_string(config("edge.service")).unwrap();
    for line in [
        "LimitNOFILE=",
        "NoNewPrivileges=",
        "ProtectSystem=",
        "ExecReload=",
    ] {
        assert!(unit.contains(line), "edge.service lacks {line}");
    }
}
