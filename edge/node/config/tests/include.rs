//! Sites in files of their own.

use std::path::Path;

use crate::config::{load, print};

const MAIN: &str = "include = [\"sites/*.toml\"]\nlisten.http = [\"127.0.0.1:0\"]\n";
const SITE: &str = "hosts = [\"HOST\"]\norigin = \"store://www\"\n";

/// A folder with a main file and some others; returns what loading it says.
fn outcome(main: &str, others: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sites")).unwrap();
    std::fs::write(dir.path().join("edge.toml"), main).unwrap();
    for (name, text) in others {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let folder = format!("{}/", dir.path().display());
    match load(&dir.path().join("edge.toml")) {
        Ok(loaded) => {
            let printed = print(&loaded.file);
            let again = super::load(&printed).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert_eq!(loaded.settings, again.settings, "{printed}");
            let sites = loaded.settings.sites.into_iter();
            Ok(sites.map(|site| site.name).collect())
        }
        Err(mistakes) => Err(mistakes.to_string().replace(&folder, "")),
    }
}

#[test]
fn included_sites_come_in_the_order_of_their_file_names() {
    let (a, b) = (SITE.replace("HOST", "a"), SITE.replace("HOST", "b"));
    let others = [
        ("sites/2.toml", a.as_str()),
        ("sites/1.toml", b.as_str()),
        ("sites/.hidden.toml", "nonsense"),
        ("sites/notes.txt", "nonsense"),
    ];
    assert_eq!(outcome(MAIN, &others).unwrap(), ["b", "a"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_fine() {
    assert!(outcome(MAIN, &[]).unwrap().is_empty());
}

#[test]
fn a_mistake_in_an_included_file_names_that_file() {
    let wrong = "hosts = [\"a\"]\norgin = \"store://www\"\n";
    let broken = "hosts = [\n";
    let text = outcome(MAIN, &[("sites/a.toml", wrong), ("sites/b.toml", broken)]).unwrap_err();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "sites/a.toml:1:1: missing key `origin`; for example origin = \"app\""
    );
    assert_eq!(
        lines[1],
        "sites/a.toml:2:1: unknown key `orgin`; did you mean `origin`?"
    );
    assert!(
        lines[2].starts_with("sites/b.toml:1:10: not valid TOML: "),
        "{}",
        lines[2]
    );
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_host_taken_in_another_file_names_both_places() {
    let site = SITE.replace("HOST", "a");
    let others = [("sites/1.toml", &*site), ("sites/2.toml", &*site)];
    assert_eq!(
        outcome(MAIN, &others).unwrap_err(),
        "sites/2.toml:1:10: the host \"a\" is already taken at sites/1.toml:1:10"
    );
}

#[test]
fn site_tables_in_an_included_file_are_explained_once() {
    let site = "[[site]]\nhosts = [\"a\"]\norigin = \"store://www\"\n";
    assert_eq!(
        outcome(MAIN, &[("sites/a.toml", site)]).unwrap_err(),
        "sites/a.toml:1:3: an included file is one site: write its keys at top level, \
         without [[site]]; for example hosts = [\"example.com\"]"
    );
}

#[test]
fn an_include_that_cannot_be_followed_is_explained() {
    let listen = "listen.http = [\"127.0.0.1:0\"]\n";
    let table = [
        (
            "sites/a.toml",
            "t:1:12: `include` \"sites/a.toml\" names sites/a.toml, which is not a file",
        ),
        (
            "*/a.toml",
            "t:1:12: `include` \"*/a.toml\" has a star in a folder; only the last part may have stars",
        ),
        (
            "none/*.toml",
            "t:1:12: `include` \"none/*.toml\" cannot be listed: none: No such file or directory (os error 2)",
        ),
    ];
    for (pattern, expected) in table {
        let main = format!("include = [\"{pattern}\"]\n{listen}");
        let text = outcome(&main, &[]).unwrap_err();
        assert_eq!(text.replace("edge.toml", "t"), expected);
    }
}

#[test]
fn a_file_included_twice_is_a_mistake() {
    let site = SITE.replace("HOST", "a");
    let main = "include = [\"sites/*.toml\", \"sites/a.toml\"]\nlisten.http = [\"127.0.0.1:0\"]\n";
    assert_eq!(
        outcome(main, &[("sites/a.toml", &site)]).unwrap_err(),
        "edge.toml:1:28: sites/a.toml is included twice"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    let mistakes = load(Path::new("/nowhere/edge.toml")).unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "/nowhere/edge.toml: cannot be read: No such file or directory (os error 2)"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.toml");
    std::fs::write(&path, b"data = \"\xff\"").unwrap();
    let text = load(&path).unwrap_err().to_string();
    assert!(
        text.ends_with("edge.toml: is not UTF-8 text, first at byte 8"),
        "{text}"
    );
}
