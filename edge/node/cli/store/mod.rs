//! `edge store`: buckets and objects, of a running node or of a directory no node holds.
//!
//! Each command is a file; what they work on is a `Shelf`, which hides where the store is.

mod copy;
mod directory;
mod import;
mod list;
mod local;
mod place;
mod remote;
mod remove;
mod shelf;
mod walk;

use super::Failure;
use super::say;
use super::talk::{self, Admin};
use clap::{Args, Subcommand};
use place::Bucket;
use shelf::Shelf;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    admin: Admin,
    /// Work on the store in this data directory, without a node; --admin is not used then.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// List the buckets.
    #[command(after_help = "Example:\n  edge store buckets")]
    Buckets {
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a bucket.
    #[command(after_help = "Example:\n  edge store mb store://www")]
    Mb {
        /// Its name: 3 to 63 of a-z, 0-9, `-` and `.`.
        #[arg(value_name = "store://BUCKET")]
        bucket: Bucket,
    },
    /// Remove a bucket that holds nothing.
    #[command(after_help = "Example:\n  edge store rb store://www")]
    Rb {
        /// Its name.
        #[arg(value_name = "store://BUCKET")]
        bucket: Bucket,
    },
    /// List the objects of a bucket, folder by folder.
    Ls(list::Ls),
    /// Copy a file into the store, or out of it.
    Cp(copy::Cp),
    /// Remove an object, or a folder of them.
    Rm(remove::Rm),
    /// Copy a folder into the store, with all that is in it.
    Import(import::Import),
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        talk::block_on(async {
            let shelf = match &self.data {
                Some(data) => {
                    let may_make = matches!(self.command, Command::Mb { .. });
                    Shelf::in_directory(data, may_make).await?
                }
                None => Shelf::of_node(&self.admin)?,
            };
            let done = run(&shelf, self.command).await;
            let closed = shelf.close().await;
            done.and(closed)
        })
    }
}

async fn run(shelf: &Shelf, command: Command) -> Result<(), Failure> {
    match command {
        Command::Buckets { json } => list::buckets(shelf, json).await,
        Command::Mb {
            bucket: Bucket(bucket),
        } => {
            shelf.make(&bucket).await?;
            say::line(&format!("made store://{bucket}"))
        }
        Command::Rb {
            bucket: Bucket(bucket),
        } => {
            shelf.remove(&bucket).await?;
            say::line(&format!("removed store://{bucket}"))
        }
        Command::Ls(ls) => ls.run(shelf).await,
        Command::Cp(cp) => cp.run(shelf).await,
        Command::Rm(rm) => rm.run(shelf).await,
        Command::Import(import) => import.run(shelf).await,
    }
}
