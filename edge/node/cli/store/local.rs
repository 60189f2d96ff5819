//! Files of this machine as bodies: read and written piece by piece, whatever their size, and shown
//! on a progress bar while they pass.

use super::shelf::Upload;
use crate::cli::{Failure, say};
use bytes::{Bytes, BytesMut};
use edge_store::{Body, BoxError};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A file as an upload, its type told by its name.
pub(super) async fn upload(path: &Path) -> Result<Upload, Failure> {
    let cannot = |error| Failure::Failed(format!("cannot read {}: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(cannot)?;
    let about = file.metadata().await.map_err(cannot)?;
    if !about.is_file() {
        return Err(Failure::Failed(format!("{} is not a file", path.display())));
    }
    Ok(Upload {
        content_type: content_type(path),
        cache_control: None,
        size: Some(about.len()),
        body: body(file, path.display().to_string(), Some(about.len())),
    })
}

/// Standard input as an upload.
pub(super) fn stdin() -> Result<Upload, Failure> {
    let from = io::stdin().as_fd().try_clone_to_owned();
    let from =
        from.map_err(|error| Failure::Failed(format!("standard input cannot be read: {error}")))?;
    let from = tokio::fs::File::from_std(from.into());
    Ok(Upload {
        content_type: None,
        cache_control: None,
        size: None,
        body: body(from, "standard input".to_owned(), None),
    })
}

/// The type that goes with a name; texts are taken for UTF-8, as everybody writes them.
pub(super) fn content_type(path: &Path) -> Option<String> {
    let guess = mime_guess::from_path(path).first()?;
    let is_text = guess.type_() == "text"
        || matches!(guess.subtype().as_str(), "javascript" | "json" | "svg")
        || matches!(guess.suffix().map(|suffix| suffix.as_str()), Some("json"));
    let names_charset = guess.get_param("charset").is_some();
    match is_text && !names_charset {
        true => Some(format!("{guess}; charset=utf-8")),
        false => Some(guess.to_string()),
    }
}

/// Reads to the end, or exactly `size` bytes: a file that grows meanwhile is sent as it was, one
/// that shrinks breaks the upload.
fn body<R>(from: R, name: String, size: Option<u64>) -> Body
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let state = Some((from, size));
    let frames = stream::unfold(state, move |state| {
        let name = name.clone();
        async move {
            let (mut from, left) = state?;
            match piece(&mut from, left).await {
                Ok(None) => None,
                Ok(Some(bytes)) => {
                    let left = left.map(|left| left - bytes.len() as u64);
                    Some((Ok(Frame::data(bytes)), Some((from, left))))
                }
                Err(error) => {
                    let error: BoxError = format!("cannot read {name}: {error}").into();
                    Some((Err(error), None))
                }
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

async fn piece<R: AsyncRead + Unpin>(from: &mut R, left: Option<u64>) -> io::Result<Option<Bytes>> {
    let most = left.map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES as u64) as usize);
    if most == 0 {
        return Ok(None);
    }
    let mut bytes = BytesMut::with_capacity(most);
    let read = from.take(most as u64).read_buf(&mut bytes).await?;
    match (read, left) {
        (0, Some(_)) => Err(io::Error::other("it became shorter while it was read")),
        (0, None) => Ok(None),
        _ => Ok(Some(bytes.freeze())),
    }
}

/// Writes a body to a file, which appears, or changes, only once all of it is there. What is no
/// file (`/dev/null`, a pipe) is written to as it is.
pub(super) async fn save(body: Body, path: &Path) -> Result<(), Failure> {
    let cannot = |error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        let mut file = File::options().write(true).open(path).map_err(cannot)?;
        return pour(body, |bytes| file.write_all(bytes).map_err(cannot)).await;
    }
    // A link stays a link, to the new content.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let part = part_of(&real);
    let mut file = File::create(&part).map_err(cannot)?;
    let written = pour(body, |bytes| file.write_all(bytes).map_err(cannot)).await;
    let finish = || {
        if let Some(there) = there {
            file.set_permissions(there.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&part, &real)
    };
    let done = written.and_then(|()| finish().map_err(cannot));
    if done.is_err() {
        // What is left of a copy that failed is of no use; the failure is what is reported.
        let _ = fs::remove_file(&part);
    }
    done
}

/// Writes a body to standard output.
pub(super) async fn print(body: Body) -> Result<(), Failure> {
    pour(body, say::bytes).await
}

async fn pour(
    mut body: Body,
    mut into: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::Failed(format!("the object broke off: {error}")))?;
        if let Ok(bytes) = frame.into_data() {
            into(&bytes)?;
        }
    }
    Ok(())
}

/// Beside the file it will become, so that becoming it is one rename.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

/// The same body, what passes counted on a bar.
pub(super) fn counted(body: Body, bar: &ProgressBar) -> Body {
    let bar = bar.clone();
    let count = move |frame: Frame<Bytes>| {
        bar.inc(frame.data_ref().map_or(0, |bytes| bytes.len() as u64));
        frame
    };
    body.map_frame(count).boxed_unsync()
}

/// Shows bytes on a terminal, nothing elsewhere.
pub(super) fn byte_bar(size: Option<u64>) -> ProgressBar {
    let template = match size {
        Some(_) => "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{spinner} {bytes}, {bytes_per_sec}",
    };
    styled(size, template)
}

pub(super) fn styled(size: Option<u64>, template: &str) -> ProgressBar {
    let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.expect("the templates of this command are well-formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_names() {
        for (name, wanted) in [
            ("a/index.html", Some("text/html; charset=utf-8")),
            ("style.CSS", Some("text/css; charset=utf-8")),
            ("script.js", Some("text/javascript; charset=utf-8")),
            ("data.json", Some("application/json; charset=utf-8")),
            ("picture.svg", Some("image/svg+xml; charset=utf-8")),
            ("notes.txt", Some("text/plain; charset=utf-8")),
            ("app.wasm", Some("application/wasm")),
            ("photo.jpg", Some("image/jpeg")),
            ("font.woff2", Some("font/woff2")),
            ("README", None),
            ("a.unheard-of", None),
        ] {
            assert_eq!(content_type(Path::new(name)).as_deref(), wanted, "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_that_shrinks_breaks_its_upload_and_one_that_grows_does_not() {
        let read = async |bytes: &'static [u8], size| {
            body(bytes, "a".to_owned(), size)
                .collect()
                .await
                .map(|all| all.to_bytes())
        };
        assert_eq!(read(b"12345", Some(3)).await.unwrap(), "123");
        assert_eq!(read(b"12345", None).await.unwrap(), "12345");
        assert_eq!(read(b"", Some(0)).await.unwrap(), "");
        let error = read(b"12345", Some(6)).await.unwrap_err().to_string();
        assert_eq!(error, "cannot read a: it became shorter while it was read");
    }

    #[tokio::test]
    async fn a_copy_that_breaks_leaves_the_file_that_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old").unwrap();
        let short = body(&b"new"[..], "b".to_owned(), Some(9));
        assert!(save(short, &path).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let whole = body(&b"new"[..], "b".to_owned(), None);
        save(whole, &path).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn links_and_devices_stay_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        for path in [link.as_path(), Path::new("/dev/null")] {
            let new = body(&b"new"[..], "b".to_owned(), None);
            save(new, path).await.unwrap();
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
