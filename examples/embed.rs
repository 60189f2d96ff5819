//! A node inside another program: settings from a text instead of a file, run until SIGTERM.
//!
//!     cargo run --example embed
//!
//! Answers every host on port 8088 from the server on port 3000, and keeps its data in `embedded`.

use std::path::Path;

use edge::assemble::{self, Start};
use edge::config;

const CONFIG: &str = r#"
data = "embedded"
[listen]
http = ["127.0.0.1:8088"]
[[site]]
hosts = ["*"]
origin = "http://127.0.0.1:3000"
"#;

fn main() -> Result<(), String> {
    let loaded = config::from_str("embedded config", CONFIG, Path::new(""))
        .map_err(|mistakes| mistakes.to_string())?;
    assemble::run(Start {
        printed: config::print(&loaded.file),
        settings: loaded.settings,
        file: None,
        demo: false,
    })
}
