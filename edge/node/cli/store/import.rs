//! `edge store import`: a folder into the store, several files at a time.
//!
//! Nothing is left out silently: what cannot be imported is named with its reason, and the command
//! fails in the end. Whatever else there is gets imported all the same.

use super::local;
use super::place::Place;
use super::shelf::{Shelf, Upload};
use super::walk::{Found, LeftOut, Walk};
use crate::cli::{Failure, say};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use indicatif::{HumanBytes, ProgressBar};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  edge store import public store://www
  edge store import build/assets store://www/assets --cache-control 'max-age=31536000, immutable'

Files that are there already are replaced, others stay. Types are told by names.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Import {
    /// The folder; links in it are followed as long as they stay in it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where its files go.
    #[arg(value_name = "store://BUCKET/PREFIX")]
    to: Place,
    /// The Cache-Control of all new objects, which the cache obeys.
    #[arg(long, value_name = "DIRECTIVES")]
    cache_control: Option<String>,
    /// Answer in JSON: {"imported", "bytes", "failed": [{"file", "why"}], "left_out": […]}.
    #[arg(long)]
    json: bool,
}

/// Files on their way at once.
const AT_ONCE: usize = 8;

/// After so many failures there is no use in going on: the node is gone, or the disk is full.
const FAILURES_MAX: usize = 20;

/// What became of the folder.
#[derive(Default)]
struct Report {
    imported: u64,
    bytes: u64,
    failed: Vec<LeftOut>,
    left_out: Vec<LeftOut>,
    /// Files not even tried.
    given_up: u64,
}

impl Import {
    pub(super) async fn run(self, shelf: &Shelf) -> Result<(), Failure> {
        let walk = Walk::of(&self.folder).map_err(|error| {
            Failure::Failed(format!("cannot read {}: {error}", self.folder.display()))
        })?;
        let template = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {msg}";
        let bar = local::styled(Some(walk.bytes), template);
        let report = self.import(shelf, walk, &bar).await;
        bar.finish_and_clear();
        match self.json {
            true => say::json(&report.json())?,
            false => say::line(&report.summary(&self.to))?,
        }
        match report.missing() {
            0 => Ok(()),
            _ => {
                let folder = self.folder.display();
                Err(Failure::Failed(format!("not all of {folder} was imported")))
            }
        }
    }

    async fn import(&self, shelf: &Shelf, walk: Walk, bar: &ProgressBar) -> Report {
        let mut report = Report {
            left_out: walk.left_out,
            ..Report::default()
        };
        for LeftOut { path, why } in &report.left_out {
            bar.suspend(|| say::complain(&format!("left out {}: {why}", path.display())));
        }
        let total = walk.files.len() as u64;
        let mut results = stream::iter(walk.files)
            .map(async |file| (self.upload(shelf, &file, bar).await, file))
            .buffer_unordered(AT_ONCE);
        while let Some((result, file)) = results.next().await {
            match result {
                Ok(()) => {
                    report.imported += 1;
                    report.bytes += file.size;
                    bar.set_message(format!("{} of {total} files", report.imported));
                }
                Err(why) => {
                    let path = file.path;
                    bar.suspend(|| say::complain(&format!("{}: {why}", path.display())));
                    report.failed.push(LeftOut { path, why });
                    if report.failed.len() == FAILURES_MAX {
                        break;
                    }
                }
            }
        }
        report.given_up = total - report.imported - report.failed.len() as u64;
        report
    }

    async fn upload(&self, shelf: &Shelf, file: &Found, bar: &ProgressBar) -> Result<(), String> {
        let key = format!("{}{}", self.to.folder(), file.key);
        let put = async {
            let new = local::upload(&file.path).await?;
            let new = Upload {
                cache_control: self.cache_control.clone(),
                body: local::counted(new.body, bar),
                ..new
            };
            shelf.put(&self.to.bucket, &key, new).await
        };
        put.await.map_err(|failure| match failure {
            Failure::Failed(why) | Failure::Invalid(why) => why,
            Failure::Unheard => "nobody reads it".to_owned(),
        })
    }
}

impl Report {
    fn missing(&self) -> u64 {
        (self.failed.len() + self.left_out.len()) as u64 + self.given_up
    }

    fn summary(&self, to: &Place) -> String {
        let files = say::count(self.imported, "file");
        let mut text = format!("imported {files}, {}, into {to}", HumanBytes(self.bytes));
        for (count, what) in [
            (self.failed.len() as u64, "failed"),
            (self.left_out.len() as u64, "left out"),
            (self.given_up, "not tried any more"),
        ] {
            if count > 0 {
                text.push_str(&format!("; {count} {what}"));
            }
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let list = |list: &[LeftOut]| -> Vec<_> {
            list.iter()
                .map(|left| json!({ "file": left.path.to_string_lossy(), "why": left.why }))
                .collect()
        };
        json!({
            "imported": self.imported,
            "bytes": self.bytes,
            "failed": list(&self.failed),
            "left_out": list(&self.left_out),
            "not_tried": self.given_up,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::store::shelf::Query;

    async fn shelf(data: &std::path::Path) -> Shelf {
        let shelf = Shelf::in_directory(data, true).await.unwrap();
        shelf.make("www").await.unwrap();
        shelf
    }

    fn order(folder: PathBuf, to: &str) -> Import {
        Import {
            folder,
            to: to.parse().unwrap(),
            cache_control: Some("max-age=60".to_owned()),
            json: true,
        }
    }

    #[tokio::test]
    async fn a_folder_is_imported_with_types_and_what_is_left_out_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("public");
        std::fs::create_dir_all(folder.join("css")).unwrap();
        std::fs::write(folder.join("index.html"), "<p>").unwrap();
        std::fs::write(folder.join("css/a.css"), vec![b'a'; 700_000]).unwrap();
        std::fs::write(folder.join("empty"), "").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.join("leak")).unwrap();

        let shelf = shelf(&directory.path().join("data")).await;
        let import = order(folder.clone(), "store://www/v1");
        let walk = Walk::of(&folder).unwrap();
        let report = import.import(&shelf, walk, &ProgressBar::hidden()).await;
        assert_eq!(
            (report.imported, report.bytes, report.missing()),
            (3, 700_003, 1)
        );
        assert_eq!(
            report.summary(&import.to),
            "imported 3 files, 683.60 KiB, into store://www/v1; 1 left out"
        );
        let page = shelf.list("www", &Query::default()).await.unwrap();
        let keys: Vec<_> = page
            .objects
            .iter()
            .map(|object| object.key.as_str())
            .collect();
        assert_eq!(keys, ["v1/css/a.css", "v1/empty", "v1/index.html"]);
        let object = shelf.get("www", "v1/css/a.css").await.unwrap();
        assert_eq!(
            object.content_type.as_deref(),
            Some("text/css; charset=utf-8")
        );
        assert_eq!(object.size, Some(700_000));
        shelf.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_store_that_refuses_everything_is_not_asked_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("public");
        std::fs::create_dir(&folder).unwrap();
        for n in 0..100 {
            std::fs::write(folder.join(n.to_string()), "x").unwrap();
        }
        let shelf = shelf(&directory.path().join("data")).await;
        let import = order(folder.clone(), "store://absent");
        let walk = Walk::of(&folder).unwrap();
        let report = import.import(&shelf, walk, &ProgressBar::hidden()).await;
        assert_eq!((report.imported, report.failed.len()), (0, FAILURES_MAX));
        assert_eq!(report.missing(), 100);
        assert!(report.failed[0].why.contains("edge store mb"));
        shelf.close().await.unwrap();
    }
}
