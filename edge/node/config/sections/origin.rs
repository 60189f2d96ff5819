//! `[origins.NAME]`: a group of servers that hold the same content.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::mistakes::{At, Mistakes};
use crate::config::section::{Field, section};
use crate::config::settings::{OriginConfig, OriginTls, OriginUrl, Protocol};
use crate::config::tree::{Key, Kind, Node};
use crate::config::value::Value;
use crate::config::words::origin::{Authority, ServerName};

section! {
    /// A group of servers that hold the same content.
    pub struct Table {
        /// The servers, each as http(s)://host[:port].
        servers: Vec<OriginUrl>, from 1 to 256, example ["http://10.0.0.11:8080"];
        /// Sent to the servers as Host instead of the host the client asked for.
        host: Option<Authority>, example "app.internal";
        /// How the servers are spoken to.
        protocol: Protocol = "auto";
        /// How long connecting may take, TLS included.
        connect_timeout: Duration = "5s", from "10ms" to "10m";
        /// How long the first byte of an answer may take.
        first_byte_timeout: Duration = "60s", from "10ms" to "1d";
        /// How long an answer may pause.
        between_bytes_timeout: Duration = "30s", from "10ms" to "1d";
        /// How long a write of a request may take.
        write_timeout: Duration = "30s", from "10ms" to "1d";
        /// How long an unused connection is kept.
        idle_timeout: Duration = "60s", from "0s" to "1d";
        /// How many unused connections are kept.
        keep_idle: usize = 64, from 0 to 100000;
        /// How servers with https prove who they are.
        tls: Tls, example { verify = true, ca = "/etc/edge/origin-ca.pem" };
    }
}

section! {
    /// How servers with https prove who they are.
    pub struct Tls {
        /// False accepts any certificate, from anyone. For trying things out only.
        verify: bool = true;
        /// PEM file with the authorities to trust instead of the system's; relative to this
        /// config file.
        ca: Option<PathBuf>, example "/etc/edge/origin-ca.pem";
        /// Name to ask for and to verify instead of the server's host.
        server_name: Option<ServerName>, example "app.internal";
    }
}

impl Table {
    /// A named origin as the program wants it. An authority file must be there to be read.
    pub fn settings(&self, base: &Path, mistakes: &mut Mistakes) -> OriginConfig {
        let ca = self.tls.ca.as_ref().map(|path| base.join(path));
        if let Some(error) = ca.as_ref().and_then(|path| std::fs::File::open(path).err()) {
            let text = format!("`ca` cannot be read: {error}");
            mistakes.add(&self.tls.ca.at, text);
        }
        OriginConfig {
            servers: self.servers.value.clone(),
            host: self.host.value.as_ref().map(|host| host.0.clone()),
            protocol: self.protocol.value,
            connect_timeout: self.connect_timeout.value,
            first_byte_timeout: self.first_byte_timeout.value,
            between_bytes_timeout: self.between_bytes_timeout.value,
            write_timeout: self.write_timeout.value,
            idle_timeout: self.idle_timeout.value,
            keep_idle: self.keep_idle.value,
            tls: OriginTls {
                verify: self.tls.verify.value,
                ca,
                server_name: self.tls.server_name.as_ref().map(|name| name.0.clone()),
            },
        }
    }
}

/// The origin a site names by URL: one server, everything else by default.
pub fn single(url: &OriginUrl) -> Option<OriginConfig> {
    let at = At::whole("", 0);
    let node = |kind| Node {
        kind,
        at: at.clone(),
    };
    let server = node(Kind::Text(url.to_string()));
    let key = Key {
        name: "servers".into(),
        at: at.clone(),
    };
    let table = node(Kind::Table(vec![(key, node(Kind::List(vec![server])))]));
    let mut mistakes = Mistakes::default();
    let table = Table::decode(&table, &Field::named(""), &mut mistakes)?;
    Some(table.settings(Path::new(""), &mut mistakes))
}
