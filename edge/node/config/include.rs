//! `include = ["sites/*.toml"]`: puts the sites of other files into the tree,
//! as if each stood in the main file under `[[site]]`.
//!
//! Patterns are relative to the main file. Only the last part may have stars;
//! files come in the order of their names, hidden ones are left out. A pattern
//! that matches nothing is fine (the first site comes later); a plain name
//! that is not there is a mistake.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::mistakes::{At, Mistakes};
use super::tree::{self, Key, Kind, Node};

/// The main file and each included one.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// All files together.
const TOTAL_BYTES_MAX: usize = 64 << 20;
/// Included files, as many as sites.
const FILES_MAX: usize = 10_000;

/// Reads a config file, or says why it cannot be read.
pub fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("is larger than 16MiB, the most a config file may have".into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        format!("is not UTF-8 text, first at byte {offset}")
    })
}

/// Adds the included sites to the tree and returns the files they came from.
pub fn gather(root: &mut Node, base: &Path, mistakes: &mut Mistakes) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut sites = Vec::new();
    let mut bytes = 0;
    // What is not a list of texts is noted when the file is decoded.
    let patterns = match root.get("include").map(|node| &node.kind) {
        Some(Kind::List(items)) => items.as_slice(),
        _ => return files,
    };
    for pattern in patterns {
        let Kind::Text(text) = &pattern.kind else {
            continue;
        };
        let found = match expand(base, text) {
            Ok(found) => found,
            Err(why) => {
                mistakes.add(&pattern.at, format!("`include` {text:?} {why}"));
                continue;
            }
        };
        for path in found {
            if !seen.insert(path.clone()) {
                let text = format!("{} is included twice", path.display());
                mistakes.add(&pattern.at, text);
                continue;
            }
            if files.len() == FILES_MAX || bytes > TOTAL_BYTES_MAX {
                let text = format!("`include` takes at most {FILES_MAX} files and 64MiB in all");
                mistakes.add(&pattern.at, text);
                return files;
            }
            let order = u32::try_from(files.len() + 1).unwrap_or(u32::MAX);
            files.push(path.clone());
            let name = path.display().to_string();
            match read(&path) {
                Err(why) => mistakes.add(&At::whole(&name, order), why),
                Ok(text) => {
                    bytes += text.len();
                    match tree::parse(&name, order, &text) {
                        Ok(site) => sites.extend(plain_site(site, mistakes)),
                        Err(wrong) => {
                            wrong.iter().for_each(|m| mistakes.add(&m.at, &*m.text));
                        }
                    }
                }
            }
        }
    }
    append(root, sites);
    files
}

/// People write `[[site]]` here too; one hint is better than a list of unknown keys.
fn plain_site(site: Node, mistakes: &mut Mistakes) -> Option<Node> {
    if let Kind::Table(rows) = &site.kind
        && let Some((key, _)) = rows.iter().find(|(key, _)| key.name == "site")
    {
        mistakes.add(
            &key.at,
            "an included file is one site: write its keys at top level, without [[site]]; \
             for example hosts = [\"example.com\"]",
        );
        return None;
    }
    Some(site)
}

fn append(root: &mut Node, mut sites: Vec<Node>) {
    let at = root.at.clone();
    let Kind::Table(rows) = &mut root.kind else {
        return;
    };
    match rows.iter_mut().find(|(key, _)| key.name == "site") {
        Some((_, node)) => {
            if let Kind::List(items) = &mut node.kind {
                items.append(&mut sites);
            }
        }
        None if sites.is_empty() => {}
        None => {
            let key = Key {
                name: "site".into(),
                at: at.clone(),
            };
            let kind = Kind::List(sites);
            rows.push((key, Node { kind, at }));
        }
    }
}

fn expand(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let (folder, last) = match pattern.rsplit_once('/') {
        Some(("", last)) => (Path::new("/").to_owned(), last),
        Some((folder, last)) => (base.join(folder), last),
        None => (base.to_owned(), pattern),
    };
    if folder.as_os_str().as_encoded_bytes().contains(&b'*') {
        return Err("has a star in a folder; only the last part may have stars".into());
    }
    if !last.contains('*') {
        return match base.join(pattern) {
            path if path.is_file() => Ok(vec![path]),
            path => Err(format!("names {}, which is not a file", path.display())),
        };
    }
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".").to_owned()
    } else {
        folder
    };
    let rows = match std::fs::read_dir(&folder) {
        Ok(rows) => rows,
        Err(error) => return Err(format!("cannot be listed: {}: {error}", folder.display())),
    };
    let mut found: Vec<PathBuf> = rows
        .filter_map(Result::ok)
        .filter(|row| {
            let name = row.file_name();
            let name = name.to_string_lossy();
            !name.starts_with('.') && fits(last, &name) && row.path().is_file()
        })
        .map(|row| folder.join(row.file_name()))
        .take(FILES_MAX + 1)
        .collect();
    found.sort();
    Ok(found)
}

/// Does the name fit the pattern, where a star is any run of characters? Linear in both.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters() {
        let table = [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml.bak", false),
            ("a*", "a", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
