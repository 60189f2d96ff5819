//! The ways to get settings: from a file, from a text, or without any file.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::file::File;
use super::include;
use super::mistakes::{At, Mistakes};
use super::section::Field;
use super::settings::Settings;
use super::tree;
use super::value::Value;

/// A config that has been read and found right.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the program works with.
    pub settings: Settings,
    /// The same shaped like the file, every default filled in. Feed it to [`print()`].
    pub file: File,
    /// The included files, in reading order.
    pub included: Vec<PathBuf>,
}

/// Reads a config file and everything it includes.
///
/// Includes, secrets (`file:`) and authority files are relative to the file's
/// own folder; what the node writes (`data`, logs) is relative to the working
/// directory.
///
/// # Errors
/// Everything that is wrong, in reading order.
pub fn load(path: &Path) -> Result<Loaded, Mistakes> {
    let name = path.display().to_string();
    let text = include::read(path).map_err(|why| Mistakes::one(At::whole(&name, 0), why))?;
    from_str(&name, &text, path.parent().unwrap_or(Path::new("")))
}

/// The same from a text; `name` stands in mistakes, `base` is the folder it would be in.
///
/// # Errors
/// Everything that is wrong, in reading order.
pub fn from_str(name: &str, text: &str, base: &Path) -> Result<Loaded, Mistakes> {
    let mut root = tree::parse(name, 0, text)?;
    let mut mistakes = Mistakes::default();
    let included = include::gather(&mut root, base, &mut mistakes);
    let file = File::decode(&root, &Field::named("config"), &mut mistakes);
    let Some(mut file) = file else {
        return Err(mistakes.sorted());
    };
    let settings = file.settings(base, &mut mistakes);
    match mistakes.is_empty() {
        true => Ok(Loaded {
            settings,
            file,
            included,
        }),
        false => Err(mistakes.sorted()),
    }
}

/// What a node without a config file does: every host is answered from the
/// bucket `www` of its own store, on loopback only.
pub fn demo(data: PathBuf) -> Settings {
    without_file("store://www", data).expect("the demo's own origin is valid, a test loads it")
}

/// The demo in front of somebody's server: every host is answered from `origin`,
/// written as a site would write it. A lone `/` after the host is forgiven.
///
/// # Errors
/// The origin is none.
pub fn for_origin(origin: &str, data: PathBuf) -> Result<Settings, Mistakes> {
    let bare = origin.strip_suffix('/').filter(|rest| !rest.ends_with('/'));
    without_file(bare.unwrap_or(origin), data).map_err(|mistakes| {
        // The text we made up has lines the operator never saw.
        let mut said = Mistakes::default();
        let at = At::whole("--origin", 0);
        mistakes.iter().for_each(|m| said.add(&at, &*m.text));
        said
    })
}

fn without_file(origin: &str, data: PathBuf) -> Result<Settings, Mistakes> {
    let text = format!(
        "[listen]\nhttp = [\"127.0.0.1:8080\"]\nadmin = \"127.0.0.1:9090\"\n\
         [[site]]\nhosts = [\"*\"]\norigin = {}\n",
        toml_edit::Value::from(origin)
    );
    let loaded = from_str("demo", &text, Path::new(""))?;
    Ok(Settings {
        data,
        ..loaded.settings
    })
}

/// The JSON Schema (draft 2020-12) of the main file, for editors.
pub fn schema() -> Json {
    let mut schema = File::schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("edge");
    schema
}

/// The config in effect as TOML: every default filled in, included sites in
/// place, secrets by where they are kept. Reads back to the same settings.
pub fn print(file: &File) -> String {
    match file.print().map(toml_edit::Item::into_table) {
        Some(Ok(table)) => toml_edit::DocumentMut::from(table).to_string(),
        _ => String::new(),
    }
}
