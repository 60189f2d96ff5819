//! Who is asked for the addresses of a name: the system's hosts file, then the DNS servers it names.
//! A trait, so that tests answer themselves. Remembering answers is [`names`](crate::names)' part.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};

/// Finds the addresses of a name.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Every address of `name` (lower case, no trailing dot). Called at most once at a time per
    /// name, under the deadline of [`Dns::timeout`](crate::Dns::timeout).
    async fn resolve(&self, name: &str) -> Result<Answer, NoAnswer>;
}

/// The addresses of a name.
#[derive(Clone, Debug)]
pub struct Answer {
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// How long they may be used.
    pub ttl: Duration,
}

/// Why there are no addresses.
#[derive(Clone, Debug)]
pub enum NoAnswer {
    /// The name has none: an answer, so an older one no longer counts.
    Missing,
    /// Nobody could tell; an older answer is still the best there is.
    Failed(String),
    /// Nobody answered in time; likewise.
    TimedOut(Duration),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such name, or it has no address"),
            Self::Failed(why) => write!(f, "the DNS failed: {why}"),
            Self::TimedOut(limit) => write!(f, "the DNS did not answer within {limit:?}"),
        }
    }
}

/// The machine's own way: `/etc/hosts`, then the servers of `/etc/resolv.conf`. Both are read once.
pub(crate) struct System {
    hosts: Hosts,
    /// Without a usable configuration only names fail, not origins given by address.
    resolver: Result<TokioResolver, String>,
}

impl System {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            hosts: Hosts::from_system().unwrap_or_default(),
            resolver: resolver(timeout),
        }
    }

    /// Asked before and instead of the DNS: an entry for IPv4 alone also hides a public IPv6 address.
    fn in_hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        let find = |kind| {
            self.hosts
                .lookup_static_host(&Query::query(name.clone(), kind))
        };
        let found = [find(RecordType::A), find(RecordType::AAAA)];
        let records = found.iter().flatten().flat_map(|lookup| lookup.answers());
        records.filter_map(|record| record.data.ip_addr()).collect()
    }
}

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str) -> Result<Answer, NoAnswer> {
        let parsed = Name::from_utf8(name).map_err(|error| NoAnswer::Failed(error.to_string()))?;
        let addresses = self.in_hosts_file(&parsed);
        if !addresses.is_empty() {
            return Ok(Answer {
                addresses,
                ttl: Duration::MAX,
            });
        }
        let resolver = self
            .resolver
            .as_ref()
            .map_err(|why| NoAnswer::Failed(why.clone()))?;
        let found = resolver.lookup_ip(parsed).await.map_err(no_answer)?;
        let addresses: Vec<_> = found.iter().collect();
        if addresses.is_empty() {
            return Err(NoAnswer::Missing);
        }
        Ok(Answer {
            addresses,
            ttl: found
                .valid_until()
                .saturating_duration_since(Instant::now()),
        })
    }
}

fn resolver(timeout: Duration) -> Result<TokioResolver, String> {
    TokioResolver::builder_tokio()
        .and_then(|builder| ours(builder, timeout))
        .map_err(|error| format!("this machine's DNS settings (/etc/resolv.conf): {error}"))
}

/// The system's settings, with what we decide ourselves.
fn ours(
    mut builder: ResolverBuilder<TokioRuntimeProvider>,
    timeout: Duration,
) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    // Two tries must fit into the deadline of the query.
    options.timeout = options.timeout.min(timeout / 2);
    options.attempts = 1;
    // Answers are remembered by us, with a floor, a cap and the last good one.
    options.cache_size = 0;
    builder.build()
}

fn no_answer(error: NetError) -> NoAnswer {
    if error.is_no_records_found() {
        NoAnswer::Missing
    } else {
        NoAnswer::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record};
    use tokio::net::UdpSocket;

    use super::*;

    /// A DNS server that knows one name, by IPv4 only, and fails on another.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 2048];
            loop {
                let (length, asker) = socket.recv_from(&mut packet).await.unwrap();
                let question = Message::from_vec(&packet[..length]).unwrap();
                let query = question.queries[0].clone();
                let mut answer = question.into_response();
                let name = query.name().clone();
                match name.to_ascii().to_ascii_lowercase().as_str() {
                    "app.example." if query.query_type() == RecordType::A => {
                        for last in [1, 2] {
                            let address = Ipv4Addr::new(192, 0, 2, last);
                            answer.add_answer(Record::from_rdata(
                                name.clone(),
                                77,
                                RData::A(address.into()),
                            ));
                        }
                    }
                    "app.example." => {}
                    "broken.example." => answer.metadata.response_code = ResponseCode::ServFail,
                    _ => answer.metadata.response_code = ResponseCode::NXDomain,
                }
                socket
                    .send_to(&answer.to_vec().unwrap(), asker)
                    .await
                    .unwrap();
            }
        });
        address
    }

    fn asking(server: SocketAddr, hosts: &str) -> System {
        let mut name_server = NameServerConfig::udp(server.ip());
        name_server.connections[0].port = server.port();
        let config = ResolverConfig::from_parts(None, vec![], vec![name_server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let mut system = System {
            hosts: Hosts::default(),
            resolver: Ok(ours(builder, Duration::from_secs(2)).unwrap()),
        };
        system.hosts.read_hosts_conf(hosts.as_bytes()).unwrap();
        system
    }

    #[tokio::test]
    async fn all_addresses_come_with_their_ttl_and_missing_differs_from_failed() {
        let system = asking(server().await, "");
        let answer = system.resolve("app.example").await.unwrap();
        assert_eq!(
            answer.addresses,
            [IpAddr::from([192, 0, 2, 1]), [192, 0, 2, 2].into()]
        );
        assert!(
            (70..=77).contains(&answer.ttl.as_secs()),
            "{:?}",
            answer.ttl
        );
        let missing = system.resolve("nobody.example").await;
        assert!(matches!(missing, Err(NoAnswer::Missing)), "{missing:?}");
        let failed = system.resolve("broken.example").await;
        assert!(matches!(failed, Err(NoAnswer::Failed(_))), "{failed:?}");
    }

    #[tokio::test]
    async fn the_hosts_file_comes_before_and_instead_of_the_dns() {
        let system = asking(server().await, "10.0.0.7 app.example other\n");
        for name in ["app.example", "other"] {
            let answer = system.resolve(name).await.unwrap();
            assert_eq!(answer.addresses, [IpAddr::from([10, 0, 0, 7])]);
        }
    }
}
