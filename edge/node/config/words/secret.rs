//! Secrets: named in the config by where they are kept, `env:NAME` or
//! `file:path`, and fetched when settings are built.
//!
//! The value never comes out again: not in `Debug`, not in the printed config,
//! not in a mistake.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{Why, Word};

/// A larger file is not a secret but the wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; relative to the config file that names it.
    File(PathBuf),
}

impl Word for SecretSource {
    const WANTS: &'static str =
        "where the secret is kept (\"env:NAME\" or \"file:path\"), never the secret itself";
    const HIDDEN: bool = true;

    fn parse(text: &str) -> Result<Self, Why> {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && name.bytes().all(named) => {
                Ok(Self::Env(name.to_owned()))
            }
            Some(("file", path)) => PathBuf::parse(path).map(Self::File),
            _ => Err(Why::default()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Env(name) => format!("env:{name}"),
            Self::File(path) => format!("file:{}", path.text()),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(env:[A-Za-z0-9_]+|file:.+)$" })
    }
}

impl SecretSource {
    /// Fetches the secret. A line break at the end of a file is not part of it.
    pub fn resolve(&self, base: &Path) -> Result<Secret, String> {
        let value = match self {
            Self::Env(name) => std::env::var_os(name)
                .ok_or_else(|| format!("the environment variable {name} is not set"))?
                .into_encoded_bytes(),
            Self::File(path) => read(&base.join(path))?,
        };
        if value.is_empty() {
            return Err(match self {
                Self::Env(name) => format!("the environment variable {name} is empty"),
                Self::File(path) => format!("the file {} is empty", path.display()),
            });
        }
        Ok(Secret {
            source: self.clone(),
            value,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error| format!("cannot read the secret from {}: {error}", path.display());
    let mut value = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut value))
        .map_err(cannot)?;
    if value.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!(
            "{} is larger than 64KiB, which no secret is",
            path.display()
        ));
    }
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    Ok(value)
}

/// A secret that has been fetched. At most 64 KiB, never empty.
#[derive(Clone)]
pub struct Secret {
    source: SecretSource,
    value: Vec<u8>,
}

impl Secret {
    /// Is this the secret? Takes the same time wherever the first difference is.
    pub fn matches(&self, offered: &[u8]) -> bool {
        let mut difference = u8::from(offered.len() != self.value.len());
        for (n, byte) in offered.iter().enumerate() {
            // The remainder keeps the loop as long as what was offered, so time
            // tells the length of the offer and nothing about the secret.
            difference |= byte ^ self.value[n % self.value.len()];
        }
        std::hint::black_box(difference) == 0
    }

    /// The secret itself, for signing with it.
    pub fn expose(&self) -> &[u8] {
        &self.value
    }

    /// Where it is kept.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.matches(&other.value)
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(content: &[u8]) -> Result<Secret, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), content).unwrap();
        SecretSource::File("token".into()).resolve(dir.path())
    }

    #[test]
    fn only_the_same_bytes_match() {
        let secret = from_file(b"s3cret").unwrap();
        assert!(secret.matches(b"s3cret"));
        for wrong in [&b""[..], b"s3cre", b"s3cret!", b"S3cret", b"s3crets3cret"] {
            assert!(!secret.matches(wrong));
        }
    }

    #[test]
    fn one_line_break_at_the_end_of_a_file_is_dropped() {
        assert!(from_file(b"a b\n").unwrap().matches(b"a b"));
        assert!(from_file(b"a b\r\n").unwrap().matches(b"a b"));
        assert!(from_file(b"a\n\n").unwrap().matches(b"a\n"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", from_file(b"s3cret").unwrap()), "<secret>");
    }

    #[test]
    fn a_secret_that_cannot_be_had_says_why() {
        assert_eq!(from_file(b"\n").unwrap_err(), "the file token is empty");
        assert!(
            from_file(&[b'a'; 70_000])
                .unwrap_err()
                .ends_with("is larger than 64KiB, which no secret is")
        );
        let unset = SecretSource::Env("EDGE_TEST_NEVER_SET".into());
        assert_eq!(
            unset.resolve(Path::new(".")).unwrap_err(),
            "the environment variable EDGE_TEST_NEVER_SET is not set"
        );
        let absent = SecretSource::File("/nowhere/token".into());
        let error = absent.resolve(Path::new(".")).unwrap_err();
        assert!(
            error.starts_with("cannot read the secret from /nowhere/token: "),
            "{error}"
        );
    }

    #[test]
    fn a_set_variable_is_read() {
        let secret = SecretSource::Env("PATH".into())
            .resolve(Path::new("."))
            .unwrap();
        assert!(secret.matches(std::env::var("PATH").unwrap().as_bytes()));
    }
}
