//! `[listen]`: the sockets to open. Only what is named is opened.

use std::net::SocketAddr;

use crate::config::mistakes::Mistakes;
use crate::config::section::section;
use crate::config::settings::{Listen, Prefix};
use crate::config::value::Given;

section! {
    /// The sockets to open. Only those named here are opened.
    pub struct Table {
        /// Addresses that speak HTTP/1.1 and HTTP/2 without TLS. "[::]:80" is every address of
        /// the machine. Port 0 takes a free port.
        http: Vec<Given<SocketAddr>> = [], from 0 to 64, example ["0.0.0.0:80"];
        /// Addresses that speak HTTP/1.1 and HTTP/2 over TLS.
        https: Vec<Given<SocketAddr>> = [], from 0 to 64, example ["[::]:443"];
        /// Load balancers in front of this node, as addresses or prefixes, that begin every
        /// connection with a PROXY header (version 1 or 2). What it says becomes the address of
        /// the client; a connection from there without one is closed.
        proxy_protocol_from: Vec<Prefix> = [], from 0 to 1000, example ["10.9.0.0/24"];
        /// Address of the admin listener: health, metrics, purge, reload. Not opened when absent.
        /// Anywhere but on loopback it needs `admin.token`.
        admin: Option<SocketAddr>, example "127.0.0.1:9090";
    }
}

impl Table {
    /// Every address once, and at least one for strangers.
    pub fn settings(given: &Given<Self>, mistakes: &mut Mistakes) -> Listen {
        let broken = given.http.broken || given.https.broken || given.broken;
        if given.http.is_empty() && given.https.is_empty() && !broken {
            let at = if given.http.written {
                &given.http.at
            } else {
                &given.at
            };
            mistakes.add(
                at,
                "`listen.http` names no address, so nothing would be served; \
                 for example http = [\"0.0.0.0:80\"]",
            );
        }
        let strangers: Vec<_> = given.http.iter().chain(given.https.iter()).collect();
        for (n, address) in strangers.iter().enumerate() {
            let same = |other: &&&Given<SocketAddr>| other.value == address.value;
            let taken = strangers.iter().take(n).find(same).map(|other| &other.at);
            if let Some(first) = taken.filter(|_| address.port() != 0) {
                let text = format!("{} is already listened on at {first}", address.value);
                mistakes.add(&address.at, text);
            }
            if given.admin.value == Some(address.value) && address.port() != 0 {
                let text = format!(
                    "{} already serves strangers at {}",
                    address.value, address.at
                );
                mistakes.add(&given.admin.at, text);
            }
        }
        Listen {
            http: given.http.iter().map(|address| address.value).collect(),
            https: given.https.iter().map(|address| address.value).collect(),
            proxy_protocol_from: given.proxy_protocol_from.value.clone(),
            admin: given.admin.value,
        }
    }
}
