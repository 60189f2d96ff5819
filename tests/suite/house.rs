//! The rules of the house, checked: who depends on whom, what may never become a dependency, how
//! a file opens, where a system call may be made by hand. Reads the sources, starts no node.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use toml_edit::{DocumentMut, Item, TableLike};

/// Files that may hold the keyword, each with the system call or the proof it is there for.
const PROVEN: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "helpers", "helper", "common", "manager", "misc",
];

#[test]
fn crates_depend_on_each_other_as_drawn_in_the_readme() {
    let drawn = arrows(&read("edge/README.md"));
    let real = dependencies();
    let undrawn: Vec<_> = real.difference(&drawn).collect();
    let unreal: Vec<_> = drawn.difference(&real).collect();
    assert!(
        undrawn.is_empty(),
        "not drawn in edge/README.md: {undrawn:?}"
    );
    assert!(
        unreal.is_empty(),
        "drawn in edge/README.md, but not in Cargo.toml: {unreal:?}"
    );
}

#[test]
fn every_ban_has_a_reason_and_no_banned_crate_is_locked() {
    let lock = lock();
    for ban in bans() {
        assert!(
            ban.reason.len() > 10,
            "deny.toml bans {} without a reason",
            ban.name
        );
        let users: Vec<_> = lock
            .iter()
            .filter(|(_, needs)| needs.contains(&ban.name))
            .map(|(user, _)| user)
            .filter(|user| !ban.wrappers.contains(user))
            .collect();
        let locked = lock.iter().any(|(name, _)| *name == ban.name);
        let bare = locked && ban.wrappers.is_empty();
        assert!(
            !bare && users.is_empty(),
            "{} is banned ({}), used by {users:?}",
            ban.name,
            ban.reason
        );
    }
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| !path.starts_with("tests"))
        .filter(|path| {
            let text = read(path);
            !(text.starts_with("//! ") || text.starts_with("// "))
        })
        .collect();
    assert!(silent.is_empty(), "no header comment in {silent:?}");
}

#[test]
fn unsafe_stands_only_where_it_is_proven() {
    let listed = |path: &Path| PROVEN.iter().any(|(file, _)| path == Path::new(file));
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|path| is_unsafe(&read(path)))
        .collect();
    let unlisted: Vec<_> = found.iter().filter(|path| !listed(path)).collect();
    assert!(
        unlisted.is_empty(),
        "unsafe, but not listed in tests/suite/house.rs: {unlisted:?}"
    );
    for (file, proof) in PROVEN {
        assert!(
            !proof.is_empty() && found.contains(&PathBuf::from(file)),
            "{file} need not be listed"
        );
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let empty: Vec<_> = sources()
        .into_iter()
        .filter(|path| {
            path.file_stem()
                .is_some_and(|stem| EMPTY_NAMES.iter().any(|name| stem == *name))
        })
        .collect();
    assert!(empty.is_empty(), "say what is inside: {empty:?}");
}

#[test]
fn arrows_are_read_from_their_block_only() {
    let text = "edge -> no\n```arrows\n# ours\nedge -> edge-cache\nedge ~> edge-testkit # tests\n\n```\na -> b\n";
    let expected = ["edge -> edge-cache", "edge ~> edge-testkit"].map(str::to_owned);
    assert_eq!(arrows(text), BTreeSet::from(expected));
}

#[test]
fn the_keyword_is_told_from_the_word() {
    let word = concat!("un", "safe");
    for code in [
        "{}",
        " {}",
        " fn f()",
        " impl Send for A {}",
        " extern \"C\" {}",
    ] {
        assert!(is_unsafe(&format!("let a = {word}{code}")), "{code}");
    }
    for text in [
        format!("// {word} {{"),
        format!("fn {word}_methods() {{"),
        format!("\"{word} method\""),
    ] {
        assert!(!is_unsafe(&text), "{text}");
    }
}

/// The arrows in the fenced block `arrows`: `a -> b` needs, `a ~> b` needs for its tests.
fn arrows(text: &str) -> BTreeSet<String> {
    let block = text
        .split_once("```arrows\n")
        .map(|(_, after)| after)
        .and_then(|after| after.split("```").next());
    let block = block.expect("edge/README.md has a fenced block ```arrows");
    let lines = block
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            assert!(
                matches!(words[..], [_, "->" | "~>", _]),
                "not an arrow: {line:?}"
            );
            words.join(" ")
        })
        .collect()
}

/// The same arrows, as Cargo sees them among the members of the workspace.
fn dependencies() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"]
        .as_array()
        .expect("metadata lists packages");
    let ours: BTreeSet<_> = packages
        .iter()
        .map(|package| text(&package["name"]))
        .collect();
    let mut arrows = BTreeSet::new();
    for package in packages {
        for need in package["dependencies"]
            .as_array()
            .expect("a package lists dependencies")
        {
            if ours.contains(&text(&need["name"])) {
                let arrow = if need["kind"] == "dev" { "~>" } else { "->" };
                arrows.insert(format!(
                    "{} {arrow} {}",
                    text(&package["name"]),
                    text(&need["name"])
                ));
            }
        }
    }
    arrows
}

struct Ban {
    name: String,
    reason: String,
    wrappers: Vec<String>,
}

fn bans() -> Vec<Ban> {
    let document: DocumentMut = read("deny.toml").parse().expect("deny.toml is TOML");
    let bans: Vec<_> = list(&document["bans"]["deny"])
        .map(|entry| Ban {
            name: string(entry, "crate")
                .or(string(entry, "name"))
                .expect("a ban names a crate"),
            reason: string(entry, "reason").unwrap_or_default(),
            wrappers: entry.get("wrappers").map(strings).unwrap_or_default(),
        })
        .collect();
    assert!(!bans.is_empty(), "deny.toml bans nothing");
    bans
}

/// Every locked package and the names of what it needs.
fn lock() -> Vec<(String, Vec<String>)> {
    let document: DocumentMut = read("Cargo.lock").parse().expect("Cargo.lock is TOML");
    let packages = document["package"]
        .as_array_of_tables()
        .expect("Cargo.lock lists packages");
    packages
        .iter()
        .map(|package| {
            let needs = package.get("dependencies").map(strings).unwrap_or_default();
            // `name version` where several versions are locked.
            let names = needs
                .iter()
                .filter_map(|need| need.split(' ').next())
                .map(str::to_owned);
            (
                string(package, "name").expect("a package has a name"),
                names.collect(),
            )
        })
        .collect()
}

fn list(item: &Item) -> impl Iterator<Item = &dyn TableLike> {
    let array = item.as_array().expect("a list");
    array
        .iter()
        .map(|value| value.as_inline_table().expect("a list of tables") as &dyn TableLike)
}

fn string(table: &dyn TableLike, key: &str) -> Option<String> {
    table.get(key).and_then(Item::as_str).map(str::to_owned)
}

fn strings(item: &Item) -> Vec<String> {
    item.as_array()
        .expect("a list")
        .iter()
        .filter_map(|value| value.as_str())
        .map(str::to_owned)
        .collect()
}

/// Does the keyword open a block, a function, an implementation or an attribute here?
fn is_unsafe(text: &str) -> bool {
    let word = concat!("un", "safe");
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>()
        .join("\n")
        .split(word)
        .collect::<Vec<_>>()
        .windows(2)
        .any(|around| {
            let glued = around[0].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let after = around[1].trim_start();
            let opens = ["{", "fn ", "impl", "trait ", "extern "]
                .iter()
                .any(|start| after.starts_with(start));
            !glued && (opens || (around[0].ends_with("#[") && after.starts_with('(')))
        })
}

/// Every Rust file of the repository, relative to its root.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut left: Vec<_> = ["edge", "tests", "benches", "examples"]
        .map(|folder| root.join(folder))
        .to_vec();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() && !path.ends_with("target") {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(
                    path.strip_prefix(root)
                        .expect("it lies below the root")
                        .to_owned(),
                );
            }
        }
    }
    assert!(found.len() > 10, "the sources were not found");
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
