//! Session tickets that hold only where they were given out.
//!
//! One key seals all tickets, whatever thread or config meets them again; rustls
//! rotates it every six hours. What a ticket may skip is the verification of the
//! client, so each names whom its client was verified against: one from before a
//! site began to demand a certificate, or to demand another one, is not taken.

use rustls::server::ProducesTickets;
use std::sync::Arc;

/// Tickets for clients that were verified against one thing, or nothing.
#[derive(Debug)]
pub(super) struct Bound {
    sealer: Arc<dyn ProducesTickets>,
    mark: [u8; 32],
}

impl Bound {
    /// `against` is the fingerprint of the authorities.
    pub(super) fn new(sealer: Arc<dyn ProducesTickets>, against: Option<[u8; 32]>) -> Bound {
        Bound {
            sealer,
            // No fingerprint is all zeros, or SHA-256 were broken.
            mark: against.unwrap_or_default(),
        }
    }
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        self.sealer.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.sealer.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.sealer.encrypt(&[&self.mark[..], plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.sealer.decrypt(cipher)?;
        plain.strip_prefix(&self.mark).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::ring::Ticketer;

    #[test]
    fn a_ticket_holds_only_where_it_was_given_out() {
        let sealer = Ticketer::new().unwrap();
        let bound = |mark| Bound::new(Arc::clone(&sealer), mark);
        let marks = [None, Some([1; 32]), Some([2; 32])];
        for given in marks {
            let ticket = bound(given).encrypt(b"session").unwrap();
            for shown in marks {
                let opened = bound(shown).decrypt(&ticket);
                assert_eq!(opened.is_some(), given == shown, "{given:?} {shown:?}");
                assert!(opened.is_none_or(|plain| plain == b"session"));
            }
        }
        assert!(bound(None).decrypt(b"not a ticket").is_none());
        let other = Bound::new(Ticketer::new().unwrap(), None);
        assert!(other.decrypt(&bound(None).encrypt(b"x").unwrap()).is_none());
    }
}
