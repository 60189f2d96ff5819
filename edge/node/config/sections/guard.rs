//! `[guard]`: what a stranger may do, and for how long.

use std::time::Duration;

use crate::config::mistakes::Mistakes;
use crate::config::section::section;
use crate::config::settings::{Guard, Prefix};
use crate::config::words::size::Size;

section! {
    /// What a stranger may do, and for how long.
    pub struct Table {
        /// How many connections may be open at once.
        connections: Connections, example { total = 50000 };
        /// How many TLS handshakes may be under way at once. More wait, within `header_deadline`.
        handshakes: usize = 1024, from 1 to 1000000;
        /// How long a whole request head may take, from its first byte on; also a TLS handshake.
        header_deadline: Duration = "10s", from "100ms" to "10m";
        /// How long a connection may wait between two requests.
        idle: Duration = "75s", from "1s" to "1d";
        /// How long a request body being read, or a reply being written, may make no progress.
        body_idle: Duration = "30s", from "1s" to "1d";
        /// Largest request head: request line and fields together.
        head_max: Size = "64KiB", from "1KiB" to "1MiB";
        /// Longest request target, at most `head_max`.
        target_max: Size = "16KiB", from "64B" to "1MiB";
        /// Most header fields in one request.
        fields_max: usize = 128, from 8 to 10000;
        /// Largest request body.
        body_max: Size = "5GiB", from "0B" to "16TiB";
        /// Proxies in front of this node, as addresses or prefixes. Only from them are
        /// their X-Forwarded-* and X-Request-Id believed.
        trusted_proxies: Vec<Prefix> = [], from 0 to 1000, example ["10.0.0.0/8", "2001:db8::/32"];
        /// How long requests under way may take to finish when the node stops.
        drain: Duration = "30s", from "0s" to "1h";
    }
}

section! {
    /// How many connections may be open at once.
    pub struct Connections {
        /// All clients together. The operating system's limit on open files must allow twice
        /// this, one for the client and one for the origin.
        total: usize = 50000, from 1 to 10000000;
    }
}

impl Table {
    /// A target limit nobody wrote follows a smaller head limit.
    pub fn settings(&mut self, mistakes: &mut Mistakes) -> Guard {
        let (head, target) = (self.head_max.value, self.target_max.value);
        if target > head {
            if self.target_max.written && !self.head_max.broken {
                let text = format!(
                    "`target_max` is part of `head_max` ({0}) and cannot be more; \
                     for example target_max = \"{0}\"",
                    head.text()
                );
                mistakes.add(&self.target_max.at, text);
            }
            self.target_max.value = head;
        }
        Guard {
            connections_total: self.connections.total.value,
            handshakes_max: self.handshakes.value,
            header_deadline: self.header_deadline.value,
            idle: self.idle.value,
            body_idle: self.body_idle.value,
            head_bytes_max: head.as_usize(),
            target_bytes_max: self.target_max.as_usize(),
            fields_max: self.fields_max.value,
            body_bytes_max: self.body_max.0,
            trusted_proxies: self.trusted_proxies.value.clone(),
            drain: self.drain.value,
        }
    }
}
