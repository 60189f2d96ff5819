//! The name of one stored body.
//!
//! An id is never used twice: its upper part is the session (how often the
//! store was opened), its middle a counter, its lower part chance, so that even
//! a metadata file restored from an old copy does not meet a file of the same
//! name. A file whose session is not the current one and that no row knows is
//! left over from a crash.

/// One body's name: 32 bits of session, 48 of counter, 48 of chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(u128);

/// Bodies written one after another share a directory, so that a batch of
/// commits has few directories to flush.
const BODIES_PER_DIRECTORY_TURN: u64 = 1024;

impl Id {
    pub fn new(session: u32, counter: u64, chance: u64) -> Id {
        let low48 = |n: u64| u128::from(n & 0xffff_ffff_ffff);
        Id(u128::from(session) << 96 | low48(counter) << 48 | low48(chance))
    }

    pub fn from_number(number: u128) -> Id {
        Id(number)
    }

    pub fn number(self) -> u128 {
        self.0
    }

    /// Which opening of the store made it.
    pub fn session(self) -> u32 {
        (self.0 >> 96) as u32
    }

    /// Which of the 256 directories holds its file.
    pub fn directory(self) -> u8 {
        let counter = (self.0 >> 48) as u64 & 0xffff_ffff_ffff;
        (counter / BODIES_PER_DIRECTORY_TURN).wrapping_add(u64::from(self.session())) as u8
    }

    /// Its file's name.
    pub fn name(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Reads a file's name back.
    pub fn parse(name: &str) -> Option<Id> {
        let plain = name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let number = plain.then(|| u128::from_str_radix(name, 16).ok())??;
        Some(Id(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_id() {
        let id = Id::new(7, 5000, u64::MAX);
        assert_eq!(Id::parse(&id.name()), Some(id));
        assert_eq!(id.session(), 7);
        assert_eq!(id.directory(), 7 + 4);
        for bad in ["", "zz", "+0000000000000000000000000000001"] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
    }
}
