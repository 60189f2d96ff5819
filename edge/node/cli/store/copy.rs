//! `edge store cp`: one file into the store, out of it, or from place to place in it.

use super::local;
use super::place::Place;
use super::shelf::{Shelf, Upload};
use crate::cli::{Failure, say};
use clap::Args;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  edge store cp logo.svg store://www/images/   becomes store://www/images/logo.svg
  edge store cp store://www/index.html .
  date | edge store cp - store://www/now.txt
  edge store cp store://www/now.txt -

A folder with all that is in it: edge store import.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Cp {
    #[command(flatten)]
    ends: Ends,
    /// The Content-Type of the new object; else its name tells.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The Cache-Control of the new object, which the cache obeys.
    #[arg(long, value_name = "DIRECTIVES")]
    cache_control: Option<String>,
}

/// From where to where.
#[derive(Args)]
struct Ends {
    /// A file, store://BUCKET/KEY, or - for standard input.
    #[arg(value_name = "FROM")]
    from: End,
    /// A file or folder, store://BUCKET/KEY, or - for standard output.
    #[arg(value_name = "TO")]
    to: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Store(Place),
    File(PathBuf),
    /// `-`
    Standard,
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<End, String> {
        match text {
            "-" => Ok(End::Standard),
            text if Place::is_meant(text) => text.parse().map(End::Store),
            text => Ok(End::File(text.into())),
        }
    }
}

impl Cp {
    pub(super) async fn run(self, shelf: &Shelf) -> Result<(), Failure> {
        match (self.ends.from.clone(), self.ends.to.clone()) {
            (End::Store(from), End::Store(to)) => self.across(shelf, &from, to).await,
            (from, End::Store(to)) => self.upload(shelf, from, to).await,
            (End::Store(from), to) => download(shelf, &from, to).await,
            _ => Err(Failure::Invalid(
                "one of the two must be in the store: store://BUCKET/KEY".to_owned(),
            )),
        }
    }

    async fn upload(self, shelf: &Shelf, from: End, to: Place) -> Result<(), Failure> {
        let (new, to) = match &from {
            End::File(path) => {
                let name = path.file_name().and_then(|name| name.to_str());
                (local::upload(path).await?, named(to, name)?)
            }
            _ => (local::stdin()?, named(to, None)?),
        };
        let by_key = local::content_type(Path::new(&to.key));
        let content_type = by_key.or(new.content_type);
        self.put(
            shelf,
            &to,
            Upload {
                content_type,
                ..new
            },
        )
        .await
    }

    async fn across(self, shelf: &Shelf, from: &Place, to: Place) -> Result<(), Failure> {
        let to = named(to, from.file_name())?;
        let object = shelf.get(&from.bucket, &from.key).await?;
        let new = Upload {
            content_type: object.content_type,
            cache_control: None,
            size: object.size,
            body: object.body,
        };
        self.put(shelf, &to, new).await
    }

    /// What the command line says wins over what is known otherwise.
    async fn put(self, shelf: &Shelf, to: &Place, new: Upload) -> Result<(), Failure> {
        let bar = local::byte_bar(new.size);
        let new = Upload {
            content_type: self.content_type.or(new.content_type),
            cache_control: self.cache_control,
            size: new.size,
            body: local::counted(new.body, &bar),
        };
        let done = shelf.put(&to.bucket, &to.key, new).await;
        bar.finish_and_clear();
        done?;
        say::line(&to.to_string())
    }
}

/// Out of the store.
async fn download(shelf: &Shelf, from: &Place, to: End) -> Result<(), Failure> {
    let to = match to {
        End::File(path) if path.is_dir() => {
            let name = from.file_name().ok_or_else(|| {
                Failure::Invalid(format!(
                    "{from} has no name a file could have; name the file"
                ))
            })?;
            Some(path.join(name))
        }
        End::File(path) => Some(path),
        _ => None,
    };
    let object = shelf.get(&from.bucket, &from.key).await?;
    let Some(path) = to else {
        return local::print(object.body).await;
    };
    let bar = local::byte_bar(object.size);
    let done = local::save(local::counted(object.body, &bar), &path).await;
    bar.finish_and_clear();
    done?;
    say::line(&path.display().to_string())
}

/// The place, completed by a file name where it names only a folder.
fn named(to: Place, file_name: Option<&str>) -> Result<Place, Failure> {
    if !to.key.is_empty() && !to.key.ends_with('/') {
        return Ok(to);
    }
    let name = file_name.ok_or_else(|| {
        Failure::Invalid(format!(
            "{to} is a folder; write the whole name of the new object"
        ))
    })?;
    Ok(Place {
        key: format!("{}{name}", to.key),
        ..to
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_completed_by_the_files_name() {
        let completed = |to: &str, name| named(to.parse().unwrap(), name).map(|to| to.to_string());
        assert_eq!(
            completed("store://www", Some("a.txt")).unwrap(),
            "store://www/a.txt"
        );
        assert_eq!(
            completed("store://www/d/", Some("a")).unwrap(),
            "store://www/d/a"
        );
        assert_eq!(
            completed("store://www/b", Some("a")).unwrap(),
            "store://www/b"
        );
        assert!(matches!(
            completed("store://www/d/", None),
            Err(Failure::Invalid(_))
        ));
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!("-".parse(), Ok(End::Standard));
        assert_eq!("a/b".parse(), Ok(End::File("a/b".into())));
        assert!(matches!("store://www/a".parse(), Ok(End::Store(_))));
        assert!("store://".parse::<End>().is_err());
    }
}
