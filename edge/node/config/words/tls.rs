//! The oldest version of TLS that is spoken, and cipher suites by name.

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::ALL_CIPHER_SUITES;
use serde_json::{Value as Json, json};

use super::{Why, Word, choice};

choice! {
    /// A version of TLS. Older ones than these are not spoken at all.
    pub enum TlsVersion {
        /// RFC 5246, with forward secrecy and authenticated encryption only.
        V1_2 = "1.2",
        /// RFC 8446.
        V1_3 = "1.3",
    }
}

impl TlsVersion {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// A cipher suite that is known to be good: forward secret and authenticated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suite(pub SupportedCipherSuite);

impl Eq for Suite {}

impl Suite {
    /// Is it one of TLS 1.3? The others are of TLS 1.2.
    pub fn is_tls13(&self) -> bool {
        self.0.tls13().is_some()
    }
}

/// As IANA writes it; rustls says `TLS13_` where IANA says `TLS_`.
fn name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

impl Word for Suite {
    const WANTS: &'static str = "a cipher suite";

    fn parse(text: &str) -> Result<Self, Why> {
        let wanted = text.replacen("TLS13_", "TLS_", 1);
        if let Some(suite) = ALL_CIPHER_SUITES.iter().find(|suite| name(suite) == wanted) {
            return Ok(Self(*suite));
        }
        let names: Vec<_> = ALL_CIPHER_SUITES.iter().map(name).collect();
        Err(format!("there are {}", names.join(", ")).into())
    }

    fn text(&self) -> String {
        name(&self.0)
    }

    fn schema() -> Json {
        let both = ALL_CIPHER_SUITES.iter().flat_map(|suite| {
            let ours = name(suite);
            let theirs = format!("{:?}", suite.suite());
            [Some(ours.clone()), (theirs != ours).then_some(theirs)]
        });
        json!({ "type": "string", "enum": both.flatten().collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_known_by_both_of_their_names() {
        let table = [
            ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", true),
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", true),
            (
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                false,
            ),
        ];
        for (text, printed, is_tls13) in table {
            let suite = Suite::parse(text).unwrap();
            assert_eq!(
                (suite.text().as_str(), suite.is_tls13()),
                (printed, is_tls13)
            );
        }
    }

    #[test]
    fn a_suite_that_is_not_offered_is_answered_with_those_that_are() {
        for text in [
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "HIGH",
            "",
        ] {
            let why = Suite::parse(text).unwrap_err();
            let listed = ALL_CIPHER_SUITES
                .iter()
                .all(|suite| why.contains(&name(suite)));
            assert!(
                listed && why.starts_with("there are TLS_AES_256_GCM_SHA384, "),
                "{why}"
            );
        }
    }
}
