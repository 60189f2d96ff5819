//! The command line: what it prints, where, and the code it ends with.

use crate::{EDGE, edge, fresh, in_front_of};
use edge_testkit::{Finished, Node, Origin, Request, run, run_in};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use tempfile::TempDir;

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("no JSON: {finished:?}"))
}

/// A directory with this file in it, and the file's path.
fn with_file(name: &str, text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

const GOOD: &str =
    "[listen]\nhttp = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"\n";

#[test]
fn a_good_config_is_said_to_be_good() {
    let (_directory, path) = with_file("edge.toml", GOOD);
    let finished = run(EDGE, ["check", &path]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert!(
        finished.stdout.contains(&path) && finished.stdout.contains("1 site"),
        "{finished:?}"
    );
    assert_eq!(json(&run(EDGE, ["check", &path, "--json"]))["ok"], true);
}

#[test]
fn every_mistake_of_a_config_is_printed_with_its_place_and_cure() {
    let text = "[listn]\nhttp = [\"127.0.0.1:0\"]\n[cache]\nmemory = \"2GB\"\n[[site]]\nhosts = [\"*\"]\norigin = \"ap\"\n\
                [origins.app]\nservers = [\"http://10.0.0.1/x\"]\n";
    let (_directory, path) = with_file("edge.toml", text);
    let finished = run(EDGE, ["check", &path]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""));
    for (place, cure) in [
        ("1:", "`listen`"),
        ("4:", "GiB"),
        ("7:", "\"app\""),
        ("9:", "path"),
    ] {
        let found = finished
            .stderr
            .lines()
            .any(|line| line.starts_with(&format!("{path}:{place}")) && line.contains(cure));
        assert!(
            found,
            "no line {place} with {cure} in:\n{}",
            finished.stderr
        );
    }
    let machine = run(EDGE, ["check", &path, "--json"]);
    assert_eq!(
        (machine.code, json(&machine)["ok"].clone()),
        (Some(2), false.into())
    );
    assert_eq!(json(&machine)["mistakes"][0]["line"], 1);
}

#[test]
fn what_check_prints_is_a_config_that_means_the_same() {
    let (_directory, path) = with_file("edge.toml", GOOD);
    let printed = run(EDGE, ["check", &path, "--print"]);
    assert_eq!(printed.code, Some(0));
    for default in [
        "memory = \"256MiB\"",
        "header_deadline = \"10s\"",
        "store://www",
    ] {
        assert!(
            printed.stdout.contains(default),
            "{default} is missing in:\n{}",
            printed.stdout
        );
    }
    let (_directory, again) = with_file("edge.toml", &printed.stdout);
    let printed_again = run(EDGE, ["check", &again, "--print"]);
    assert_eq!(printed_again.code, Some(0), "{}", printed_again.stderr);
    assert_eq!(printed_again.stdout, printed.stdout);
}

#[test]
fn a_config_with_mistakes_starts_nothing() {
    let (directory, path) = with_file("edge.toml", &GOOD.replace("hosts", "host"));
    let finished = run_in(directory.path(), EDGE, ["run", "--config", &path]);
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains(&format!("{path}:4:1")),
        "{}",
        finished.stderr
    );
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the config may be there");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for command in [&["check"][..], &["run", "--config"]] {
        let args = command.iter().copied().chain(["/nowhere/edge.toml"]);
        let finished = run(EDGE, args);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(
            finished.stderr.contains("/nowhere/edge.toml"),
            "{finished:?}"
        );
    }
}

#[test]
fn nothing_is_picked_up_from_the_current_directory_unasked() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = GOOD.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let (directory, _) = with_file("edge.toml", &config);
    let finished = run_in(directory.path(), EDGE, ["check"]);
    assert_eq!(finished.code, Some(2), "check wants a file: {finished:?}");
}

#[test]
fn the_version_names_the_commit() {
    let finished = run(EDGE, ["--version"]);
    assert_eq!(finished.code, Some(0));
    let line = finished.stdout.trim();
    let start = format!("edge {} (", env!("CARGO_PKG_VERSION"));
    assert!(line.starts_with(&start) && line.ends_with(')'), "{line}");
}

#[test]
fn help_says_how_to_begin() {
    for args in [
        &["--help"][..],
        &["help"],
        &["run", "--help"],
        &["store", "cp", "--help"],
    ] {
        let finished = run(EDGE, args);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        assert!(
            finished.stdout.contains("Example"),
            "{args:?}: {}",
            finished.stdout
        );
    }
}

#[test]
fn shells_are_taught_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let finished = run(EDGE, ["completions", shell]);
        assert_eq!(finished.code, Some(0));
        for command in ["check", "explain", "purge", "completions"] {
            assert!(finished.stdout.contains(command), "{shell} lacks {command}");
        }
    }
}

#[test]
fn what_is_not_understood_is_said_so_with_code_2() {
    for args in [
        &["jump"][..],
        &["run", "--bogus"],
        &["purge"],
        &["check"],
        &["store", "cp", "a"],
    ] {
        let finished = run(EDGE, args);
        assert_eq!(
            (finished.code, finished.stdout.as_str()),
            (Some(2), ""),
            "{args:?}"
        );
        assert!(
            finished.stderr.starts_with("edge: "),
            "{args:?}: {}",
            finished.stderr
        );
    }
}

#[test]
fn a_port_in_use_is_named_with_the_cure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (directory, path) = with_file("edge.toml", &GOOD.replace("127.0.0.1:0", &address));
    let finished = run_in(directory.path(), EDGE, ["run", "--config", &path]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains(&address), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("in use") && finished.stderr.contains("port"),
        "{}",
        finished.stderr
    );
    assert!(!finished.stderr.contains("ready") && !finished.stderr.contains("panicked"));
}

#[test]
fn a_log_that_cannot_be_written_is_named_with_the_cure() {
    let text = format!("[log]\naccess = \"file:/nowhere/access.log\"\n{GOOD}");
    let (directory, path) = with_file("edge.toml", &text);
    let finished = run_in(directory.path(), EDGE, ["run", "--config", &path]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("/nowhere/access.log"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_second_node_on_the_same_data_is_refused() {
    let node = edge()
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    let config = node.config_path();
    let finished = run_in(
        node.directory(),
        EDGE,
        ["run", "--config", config.to_str().unwrap()],
    );
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("data"), "{}", finished.stderr);
    node.get("/").expect(404);
}

/// What a node without a config file listens on. `None`, with the reason, when it is taken.
fn usual_ports() -> Option<[TcpListener; 2]> {
    let free = ["127.0.0.1:8080", "127.0.0.1:9090"].map(|address| {
        TcpListener::bind(address)
            .map_err(|error| eprintln!("skipped: {address}: {error}"))
            .ok()
    });
    let [Some(http), Some(admin)] = free else {
        return None;
    };
    Some([http, admin])
}

#[test]
fn without_a_config_file_a_demo_site_is_shown_and_what_users_change_stays() {
    let Some(ports) = usual_ports() else { return };
    drop(ports);
    let mut node = Node::with(EDGE).bare().start();
    let page = node.get("/").expect(200);
    assert!(
        page.field("content-type").starts_with("text/html"),
        "{page}"
    );
    assert!(
        page.field("cache-status")
            .starts_with("edge; fwd=uri-miss; fwd-status=200; stored")
    );
    assert!(node.get("/").field("cache-status").starts_with("edge; hit"));
    for path in ["/style.css", "/script.js", "/favicon.svg"] {
        node.get(path).expect(200);
    }
    assert!(node.directory().join("edge-data").is_dir());
    node.command(&["store", "rm", "store://www/script.js"]);
    node.get("/script.js").expect(404);
    assert_eq!(node.stop().code(), Some(0));
    // The same place, but a server of one's own in front of the demo's data.
    let origin = Origin::start(|_| fresh("mine"));
    let node = Node::with(EDGE)
        .bare()
        .args(["run", "--origin", &origin.url()])
        .start();
    assert_eq!(node.get("/").expect(200).text(), "mine");
    assert!(node.get("/").field("cache-status").starts_with("edge; hit"));
}

/// A node that has `/a` in its cache, and its origin.
fn caching() -> (Origin, Node) {
    let origin = Origin::start(|visit| fresh(visit.number.to_string()).field("Cache-Tag", "t"));
    let node = in_front_of(&origin);
    node.get("/a").expect(200);
    (origin, node)
}

#[test]
fn purge_makes_a_running_node_forget() {
    let (_origin, node) = caching();
    for (n, args) in [
        &["http://edge.test/a"][..],
        &["--prefix", "http://edge.test/"],
        &["--host", "edge.test"],
        &["--tag", "t"],
        &["--everything"],
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(node.get("/a").text(), (n + 1).to_string());
        let args: Vec<_> = ["purge"].iter().chain(*args).copied().collect();
        let finished = node.command(&args);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(
            finished.stdout.starts_with("purged: 1 mark"),
            "{finished:?}"
        );
        assert_eq!(node.get("/a").text(), (n + 2).to_string(), "{args:?}");
    }
    let machine = json(&node.command(&["purge", "--everything", "--json"]));
    assert!(
        machine["stamp"].is_u64() && machine["marks"] == 1,
        "{machine}"
    );
}

#[test]
fn explain_says_what_would_happen_and_does_nothing() {
    let (origin, node) = caching();
    let hit = node.command(&["explain", "http://edge.test/a"]);
    assert_eq!(hit.code, Some(0), "{hit:?}");
    assert!(
        hit.stdout.contains("hit") && hit.stdout.contains("max-age"),
        "{}",
        hit.stdout
    );
    let miss = json(&node.command(&["explain", "http://edge.test/b", "--json"]));
    assert_eq!(miss["prediction"]["outcome"], "miss", "{miss}");
    let field = [
        "explain",
        "http://edge.test/a",
        "--header",
        "Range: bytes=0-0",
        "--json",
    ];
    assert_eq!(json(&node.command(&field))["prediction"]["status"], 206);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn cache_inspect_shows_what_is_stored() {
    let (_origin, node) = caching();
    let found = node.command(&["cache", "inspect", "http://edge.test/a"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.contains("200"), "{}", found.stdout);
    assert!(json(&node.command(&["cache", "inspect", "http://edge.test/a", "--json"])).is_object());
}

#[test]
fn a_node_that_is_not_there_is_named_with_the_cure() {
    let finished = run(
        EDGE,
        ["purge", "--everything", "--admin", "http://127.0.0.1:1"],
    );
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("127.0.0.1:1") && finished.stderr.contains("--admin"),
        "{finished:?}"
    );
}

/// Uses the store the way `more` says: through a node or in a directory.
fn walk_through_the_store(files: &Path, more: &[&str]) {
    let store = |args: &[&str]| {
        let args: Vec<_> = ["store"].iter().chain(args).chain(more).copied().collect();
        let finished = run_in(files, EDGE, &args);
        assert_eq!(finished.code, Some(0), "{args:?}: {finished:?}");
        finished.stdout
    };
    std::fs::create_dir_all(files.join("site/css")).unwrap();
    std::fs::write(files.join("site/index.html"), "<p>home").unwrap();
    std::fs::write(files.join("site/css/a b.css"), "p {}").unwrap();
    store(&["mb", "store://www"]);
    store(&["import", "site", "store://www/"]);
    assert!(store(&["ls"]).contains("store://www"));
    let listing = store(&["ls", "store://www", "--recursive"]);
    assert!(
        listing.contains("index.html") && listing.contains("css/a b.css"),
        "{listing}"
    );
    let by_folder = store(&["ls", "store://www"]);
    assert!(
        by_folder.contains("css/") && !by_folder.contains("a b.css"),
        "{by_folder}"
    );
    store(&["cp", "store://www/css/a b.css", "copy.css"]);
    assert_eq!(
        std::fs::read_to_string(files.join("copy.css")).unwrap(),
        "p {}"
    );
    assert_eq!(store(&["cp", "store://www/index.html", "-"]), "<p>home");
    store(&["cp", "copy.css", "store://www/new.css"]);
    store(&["rm", "store://www/css/", "--recursive"]);
    let left = store(&["ls", "store://www", "--recursive", "--json"]);
    let keys: Vec<Value> = left
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let keys: Vec<_> = keys
        .iter()
        .map(|object| object["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["index.html", "new.css"]);
    store(&["rm", "store://www", "--recursive"]);
    store(&["rb", "store://www"]);
}

#[test]
fn the_store_of_a_running_node_is_used_through_it() {
    let node = edge()
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    let files = tempfile::tempdir().unwrap();
    walk_through_the_store(
        files.path(),
        &["--admin", &format!("http://{}", node.admin())],
    );
}

#[test]
fn the_store_of_a_directory_is_used_without_a_node() {
    let files = tempfile::tempdir().unwrap();
    walk_through_the_store(files.path(), &["--data", "data"]);
}

#[test]
fn a_store_that_a_node_holds_is_not_touched_behind_its_back() {
    let node = edge()
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    let data = node.directory().join("data");
    let finished = run(EDGE, ["store", "ls", "--data", data.to_str().unwrap()]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("--admin") || finished.stderr.contains("node"),
        "{finished:?}"
    );
}

#[test]
fn what_the_store_does_not_have_is_said_with_code_1() {
    let node = edge()
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    for args in [
        &["store", "ls", "store://nowhere"][..],
        &["store", "cp", "store://nowhere/a", "-"],
        &["store", "rb", "store://nowhere"],
        &["store", "cp", "/nowhere/file", "store://www/a"],
    ] {
        let finished = node.command(args);
        assert_eq!(
            (finished.code, finished.stdout.as_str()),
            (Some(1), ""),
            "{args:?}: {finished:?}"
        );
        assert!(
            finished.stderr.starts_with("edge: ") && finished.stderr.contains("nowhere"),
            "{finished:?}"
        );
    }
}

#[test]
fn what_import_puts_is_served_at_once_with_its_type() {
    let node = edge()
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("index.html"), "<p>one").unwrap();
    node.get("/").expect(404);
    let folder = files.path().to_str().unwrap();
    node.command(&["store", "mb", "store://www"]);
    assert_eq!(
        node.command(&["store", "import", folder, "store://www"])
            .code,
        Some(0)
    );
    let page = node.get("/").expect(200);
    assert!(
        page.field("content-type").starts_with("text/html"),
        "{page}"
    );
    std::fs::write(files.path().join("index.html"), "<p>two").unwrap();
    node.command(&["store", "import", folder, "store://www"]);
    assert_eq!(node.get("/").expect(200).text(), "<p>two");
}

#[test]
fn a_token_is_asked_for_and_taken_from_the_environment() {
    let node = edge()
        .config("[admin]\ntoken = \"env:EDGE_TEST_TOKEN\"")
        .env("EDGE_TEST_TOKEN", "s3cret")
        .site("[[site]]\nhosts = [\"*\"]\norigin = \"store://www\"")
        .start();
    let refused = node.command(&["purge", "--everything"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("EDGE_ADMIN_TOKEN"), "{refused:?}");
    let admitted = std::process::Command::new(EDGE)
        .args([
            "purge",
            "--everything",
            "--admin",
            &format!("http://{}", node.admin()),
        ])
        .env("EDGE_ADMIN_TOKEN", "s3cret")
        .output()
        .unwrap();
    assert_eq!(admitted.status.code(), Some(0), "{admitted:?}");
    let field = Request::get("/config").field("Authorization", "Bearer s3cret");
    let config = field
        .host(&node.admin().to_string())
        .send(node.admin())
        .expect(200);
    assert!(
        !config.text().contains("s3cret") && config.text().contains("EDGE_TEST_TOKEN"),
        "{config}"
    );
}
