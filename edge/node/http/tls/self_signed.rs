//! A certificate made here, for a node that is to speak TLS and was given none:
//! good for trying things out, trusted by nobody.

use crate::config::{Certificate, HostPattern, Settings};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;

/// More hosts than this are left out: a certificate travels in every handshake.
const NAMES_MAX: usize = 100;

/// A certificate for this machine and the hosts of the sites. `before` is taken
/// over while it is for the same ones, so that those who have accepted it need
/// not do so again.
pub(super) fn certificate(
    settings: &Settings,
    before: Option<&Certificate>,
) -> Result<Certificate, String> {
    let names = names(settings);
    let is_name = |name: &&String| name.parse::<std::net::IpAddr>().is_err();
    if let Some(before) = before
        && before.names.iter().eq(names.iter().filter(is_name))
    {
        return Ok(before.clone());
    }
    let said = |error| format!("no certificate can be made: {error}");
    let mut params = CertificateParams::new(names).map_err(said)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "edge, self-signed");
    let key = KeyPair::generate().map_err(said)?;
    let certificate = params.self_signed(&key).map_err(said)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    log::warn!(
        "`listen.https` is set and `tls.certificates` is empty: a self-signed certificate is used, \
         which no client trusts; for example [tls] certificates = [{{ chain = \"/etc/edge/a.pem\", \
         key = \"file:/etc/edge/a.key\" }}]"
    );
    Certificate::own(certificate.der().clone(), key)
}

fn names(settings: &Settings) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let hosts = settings.sites.iter().flat_map(|site| &site.hosts);
    for host in hosts {
        let name = match host {
            HostPattern::Any => continue,
            HostPattern::Exact(name) => name.trim_matches(['[', ']']).to_owned(),
            HostPattern::Wildcard(suffix) => format!("*.{suffix}"),
        };
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() == NAMES_MAX {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn settings(hosts: &str) -> Settings {
        let text = format!(
            "listen.https = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [{hosts}]\norigin = \"store://www\"\n"
        );
        crate::config::from_str("t", &text, Path::new(""))
            .unwrap()
            .settings
    }

    #[test]
    fn it_is_for_this_machine_and_the_hosts_of_the_sites() {
        let hosts = "\"*\", \"a.test\", \"*.b.test\", \"192.0.2.1\", \"[::2]\", \"localhost\"";
        let made = certificate(&settings(hosts), None).unwrap();
        assert_eq!(made.names, ["localhost", "a.test", "*.b.test"]);
        let for_address = |host| super::super::names::is_for(&made.certified.cert[0], host);
        assert!(for_address("127.0.0.1") && for_address("192.0.2.1") && for_address("[::2]"));
    }

    #[test]
    fn it_stays_while_the_hosts_stay() {
        let first = certificate(&settings("\"a.test\""), None).unwrap();
        let same = certificate(&settings("\"a.test\""), Some(&first)).unwrap();
        assert_eq!(first, same);
        let other = certificate(&settings("\"b.test\""), Some(&first)).unwrap();
        assert_ne!(first, other);
    }

    #[test]
    fn it_names_a_bounded_number_of_hosts() {
        let hosts: Vec<_> = (0..500).map(|n| format!("\"h{n}.test\"")).collect();
        let made = certificate(&settings(&hosts.join(",")), None).unwrap();
        assert!(made.names.len() < NAMES_MAX);
    }
}
