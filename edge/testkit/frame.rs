//! One frame of HTTP/2 and the numbers in it (RFC 9113, sections 4, 6 and 7).

/// Types of frames.
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    #![allow(missing_docs)]
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
}

/// Error codes (RFC 9113, section 7), as far as tests name them.
pub mod code {
    #![allow(missing_docs)]
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of `kind`.
    pub kind: u8,
    /// Of `flag`.
    pub flags: u8,
    /// 0 for the connection.
    pub stream: u32,
    /// All that follows the frame's head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The first frame in these bytes, if all of it has come.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(9)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        Some(Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
            payload: rest.get(..len)?.to_vec(),
        })
    }

    /// The four bytes from here as a number.
    pub(crate) fn number(&self, at: usize) -> u32 {
        let bytes = self
            .payload
            .get(at..at + 4)
            .and_then(|four| four.try_into().ok());
        u32::from_be_bytes(bytes.expect("the frame is as long as its kind says"))
    }
}
