//! `edge store rm`: one object, or everything in a folder.

use super::local;
use super::place::Place;
use super::shelf::{Query, Shelf};
use crate::cli::{Failure, say};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

const EXAMPLES: &str = "\
Examples:
  edge store rm store://www/old.html
  edge store rm --recursive store://www/2019   all of store://www/2019/
  edge store rm --recursive store://www        all objects; the bucket stays";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rm {
    /// The object, or with --recursive the folder.
    #[arg(value_name = "store://BUCKET/KEY")]
    place: Place,
    /// Remove everything below this place.
    #[arg(long, short)]
    recursive: bool,
}

/// Objects being removed at once.
const AT_ONCE: usize = 8;

impl Rm {
    pub(super) async fn run(self, shelf: &Shelf) -> Result<(), Failure> {
        let Rm { place, recursive } = self;
        if recursive {
            return folder(shelf, &place).await;
        }
        if place.key.is_empty() {
            return Err(Failure::Invalid(format!(
                "{place} is a bucket; --recursive removes what it holds, `edge store rb` the bucket"
            )));
        }
        match shelf.delete(&place.bucket, &place.key).await? {
            true => say::line(&format!("removed {place}")),
            false => Err(Failure::Failed(format!("there is no {place}"))),
        }
    }
}

async fn folder(shelf: &Shelf, place: &Place) -> Result<(), Failure> {
    let mut query = Query {
        prefix: place.folder(),
        ..Query::default()
    };
    let bar = local::styled(None, "{spinner} {human_pos} removed");
    let mut removed = 0_u64;
    let done = loop {
        let page = match shelf.list(&place.bucket, &query).await {
            Ok(page) => page,
            Err(failure) => break Err(failure),
        };
        let deleting = stream::iter(page.objects)
            .map(async |object| shelf.delete(&place.bucket, &object.key).await)
            .buffer_unordered(AT_ONCE)
            .try_for_each(|was_there| {
                removed += u64::from(was_there);
                bar.set_position(removed);
                std::future::ready(Ok(()))
            });
        if let Err(failure) = deleting.await {
            break Err(failure);
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break Ok(()),
        }
    };
    bar.finish_and_clear();
    match done {
        Ok(()) => say::line(&format!(
            "removed {} below {place}",
            say::count(removed, "object")
        )),
        Err(failure) => {
            say::complain(&format!(
                "stopped after {} below {place}",
                say::count(removed, "object")
            ));
            Err(failure)
        }
    }
}
