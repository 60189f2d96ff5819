//! `[log]`: what is written about requests and about the node.

use crate::config::section::section;
use crate::config::settings::{AccessLog, Format, Level, Log};

section! {
    /// What is written about requests and about the node.
    pub struct Table {
        /// Where each request leaves a line: "off", "stdout", or "file:/path", relative to the
        /// working directory.
        access: AccessLog = "stdout";
        /// How that line looks.
        format: Format = "json";
        /// How much the node says about itself, on standard error.
        level: Level = "info";
    }
}

impl Table {
    /// One to one.
    pub fn settings(&self) -> Log {
        Log {
            access: self.access.value.clone(),
            format: self.format.value,
            level: self.level.value,
        }
    }
}
