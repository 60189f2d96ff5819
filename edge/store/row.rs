//! An object's row: what is known about it, and its form on disk.
//!
//! The form starts with a version byte and is read with every length checked:
//! a damaged row is an error, never a panic. Integers are little-endian, texts
//! carry a 16-bit length.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::id::Id;

/// What is known about a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The entity tag without quotes: the body's MD5 in hex.
    pub etag: String,
    /// The body's size in bytes.
    pub size: u64,
    /// When it was written, in whole seconds.
    pub last_modified: SystemTime,
    /// `Content-Type`, if the writer gave one.
    pub content_type: Option<String>,
    /// `Cache-Control`, if the writer gave one.
    pub cache_control: Option<String>,
    /// `Content-Encoding`, if the writer gave one.
    pub content_encoding: Option<String>,
    /// The writer's own names and values.
    pub metadata: Vec<(String, String)>,
}

/// Where an object's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the metadata file, with this CRC32C.
    Inline { id: Id, crc: u32 },
    /// In a file of its own, its sums beside it.
    File { id: Id },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub info: Info,
    pub place: Place,
}

const VERSION: u8 = 1;
const INLINE: u8 = 0;
const FILE: u8 = 1;
/// The length that stands for "no text here".
const NONE: u16 = u16::MAX;
/// The last second an HTTP date can name (the end of the year 9999).
const SECONDS_MAX: u64 = 253_402_300_799;

/// `now` in whole seconds, within what can be stored and sent.
pub(crate) fn whole_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().min(SECONDS_MAX))
}

/// `None` when no HTTP date can say it.
pub(crate) fn time_from(seconds: u64) -> Option<SystemTime> {
    (seconds <= SECONDS_MAX).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
}

impl Row {
    /// The row's form on disk. Texts were bounded when the object was put.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, id, crc) = match self.place {
            Place::Inline { id, crc } => (INLINE, id, crc),
            Place::File { id } => (FILE, id, 0),
        };
        let info = &self.info;
        let mut out = Vec::with_capacity(160);
        out.extend([VERSION, kind]);
        out.extend(id.number().to_le_bytes());
        out.extend(crc.to_le_bytes());
        out.extend(info.size.to_le_bytes());
        out.extend(whole_seconds(info.last_modified).to_le_bytes());
        put_text(&mut out, Some(&info.etag));
        put_text(&mut out, info.content_type.as_deref());
        put_text(&mut out, info.cache_control.as_deref());
        put_text(&mut out, info.content_encoding.as_deref());
        for (name, value) in &info.metadata {
            put_text(&mut out, Some(name));
            put_text(&mut out, Some(value));
        }
        out
    }

    /// Reads a row; the error says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Row, &'static str> {
        let mut input = Input(bytes);
        let [version, kind] = input.array()?;
        if version != VERSION {
            return Err("its row has an unknown version");
        }
        let id = Id::from_number(u128::from_le_bytes(input.array()?));
        let crc = u32::from_le_bytes(input.array()?);
        let size = u64::from_le_bytes(input.array()?);
        let seconds = u64::from_le_bytes(input.array()?);
        let place = match kind {
            INLINE => Place::Inline { id, crc },
            FILE => Place::File { id },
            _ => return Err("its row names an unknown kind of body"),
        };
        let mut info = Info {
            etag: input.text()?.ok_or("its row has no entity tag")?,
            size,
            last_modified: time_from(seconds).ok_or("its row has an impossible date")?,
            content_type: input.text()?,
            cache_control: input.text()?,
            content_encoding: input.text()?,
            metadata: Vec::new(),
        };
        while !input.0.is_empty() {
            match (input.text()?, input.text()?) {
                (Some(name), Some(value)) => info.metadata.push((name, value)),
                _ => return Err("its row has a gap in the metadata"),
            }
        }
        Ok(Row { info, place })
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else {
        out.extend(NONE.to_le_bytes());
        return;
    };
    let len = u16::try_from(text.len()).unwrap_or(NONE);
    debug_assert!(len != NONE, "texts are bounded when an object is put");
    out.extend(len.to_le_bytes());
    out.extend(text.as_bytes());
}

/// The bytes not read yet.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk().ok_or("its row is cut short")?;
        self.0 = rest;
        Ok(*head)
    }

    fn text(&mut self) -> Result<Option<String>, &'static str> {
        let len = u16::from_le_bytes(self.array()?);
        if len == NONE {
            return Ok(None);
        }
        let (text, rest) = self
            .0
            .split_at_checked(usize::from(len))
            .ok_or("its row is cut short")?;
        self.0 = rest;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err("its row holds a text that is no UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            info: Info {
                etag: "00112233445566778899aabbccddeeff".into(),
                size: 7,
                last_modified: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
                content_type: Some("text/plain".into()),
                cache_control: None,
                content_encoding: Some(String::new()),
                metadata: vec![("owner".into(), "ü".into())],
            },
            place: Place::Inline {
                id: Id::from_number(9),
                crc: 77,
            },
        }
    }

    #[test]
    fn a_row_survives_its_form_on_disk() {
        assert_eq!(Row::decode(&row().encode()).unwrap(), row());
    }

    #[test]
    fn a_damaged_row_is_an_error_and_never_a_panic() {
        let good = row().encode();
        for len in 0..good.len() {
            // Cut where the last metadata pair begins, it is a shorter but whole row.
            let _ = Row::decode(&good[..len]);
        }
        assert!(Row::decode(&[]).is_err());
        assert!(Row::decode(&[2; 80]).is_err());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xff;
            let _ = Row::decode(&bad);
        }
    }
}
