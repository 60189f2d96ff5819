//! Tells the binary which commit it was built from, for `edge --version`.
//!
//! A source tree without git builds all the same and says "unknown".

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    // Without this look, git would answer for whatever repository lies around an unpacked archive.
    let ours = Path::new(&root).join(".git").exists();
    let commit = if ours { commit(&root) } else { None };
    println!(
        "cargo:rustc-env=EDGE_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
}

fn commit(root: &str) -> Option<String> {
    // HEAD moves with a checkout, its log with every commit. A file that is missing would make
    // cargo run this every time.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(root, &["rev-parse", "--git-path", name])?;
        if Path::new(root).join(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(root, &["rev-parse", "--short=12", "HEAD"])
}

fn git(root: &str, args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(args)
        .current_dir(root)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
