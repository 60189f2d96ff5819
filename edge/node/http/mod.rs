//! A request's way through the node: accepted, judged, served, delivered.

pub(crate) mod acme;
pub(crate) mod chunked;
pub(crate) mod deliver;
pub(crate) mod fetch;
pub(crate) mod forward;
pub(crate) mod front;
pub(crate) mod h2;
pub(crate) mod head;
pub(crate) mod hosts;
pub(crate) mod listen;
pub(crate) mod plan;
pub(crate) mod refuse;
pub(crate) mod reply;
pub(crate) mod request_id;
pub(crate) mod rewind;
pub(crate) mod secure;
pub(crate) mod serve;
pub(crate) mod sites;
pub(crate) mod target;
pub(crate) mod tls;
pub(crate) mod tunnel;
pub(crate) mod upload;
pub(crate) mod write;
