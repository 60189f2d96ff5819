//! Header compression (RFC 7541) as far as a raw client needs it: writes literals only, so that a
//! test can send any name and value; reads everything but the dynamic table, which it forbids.

/// Appends one field as a literal, neither indexed nor compressed, whatever its bytes.
pub(crate) fn write(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        integer(out, 0, 7, text.len());
        out.extend_from_slice(text);
    }
}

/// Reads a whole block into fields, in their order. Bytes become characters of the same number.
pub(crate) fn read(block: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut at = block;
    let mut fields = Vec::new();
    while let Some(first) = at.first().copied() {
        if first & 0x80 != 0 {
            let (name, value) = standing(take_integer(&mut at, 7)?)?;
            fields.push((name.to_owned(), value.to_owned()));
        } else if first & 0xe0 == 0x20 {
            if take_integer(&mut at, 5)? != 0 {
                return Err("a dynamic table, which we forbade".into());
            }
        } else {
            let bits = if first & 0x40 != 0 { 6 } else { 4 };
            let name = match take_integer(&mut at, bits)? {
                0 => take_text(&mut at)?,
                index => standing(index)?.0.to_owned(),
            };
            fields.push((name, take_text(&mut at)?));
        }
    }
    Ok(fields)
}

fn integer(out: &mut Vec<u8>, flags: u8, bits: u8, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        return out.push(flags | value as u8);
    }
    out.push(flags | most as u8);
    let mut left = value - most;
    while left >= 128 {
        out.push((left % 128) as u8 | 128);
        left /= 128;
    }
    out.push(left as u8);
}

fn take_integer(at: &mut &[u8], bits: u8) -> Result<usize, String> {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(take(at)?) & most;
    if value < most {
        return Ok(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = take(at)?;
        value += usize::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Ok(value);
        }
    }
    Err("an integer without end".into())
}

fn take(at: &mut &[u8]) -> Result<u8, String> {
    let (first, rest) = at.split_first().ok_or("the block ends too early")?;
    *at = rest;
    Ok(*first)
}

fn take_text(at: &mut &[u8]) -> Result<String, String> {
    let compressed = at.first().is_some_and(|byte| byte & 0x80 != 0);
    let len = take_integer(at, 7)?;
    let (text, rest) = at.split_at_checked(len).ok_or("the block ends too early")?;
    *at = rest;
    let bytes = if compressed {
        expand(text)?
    } else {
        text.to_vec()
    };
    Ok(bytes.into_iter().map(char::from).collect())
}

/// Undoes the Huffman code. The code is canonical: its words count upwards, shorter ones first and
/// among equals in the order of the symbols, so their lengths say all.
fn expand(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut symbols: Vec<u8> = (0..=255).collect();
    symbols.sort_by_key(|symbol| LENGTHS[usize::from(*symbol)]);
    let mut out = Vec::new();
    let (mut code, mut len) = (0_u32, 0_u8);
    // The first code word and the first symbol of the length at hand.
    let (mut first, mut index) = (0_u32, 0_usize);
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1))
    {
        code = code << 1 | u32::from(bit);
        first <<= 1;
        len += 1;
        let count = symbols[index..]
            .iter()
            .take_while(|symbol| LENGTHS[usize::from(**symbol)] == len)
            .count();
        let offset = code.wrapping_sub(first) as usize;
        if offset < count {
            out.push(symbols[index + offset]);
            (code, len, first, index) = (0, 0, 0, 0);
        } else {
            first += count as u32;
            index += count;
        }
        if len > 30 {
            return Err("no such code word".into());
        }
    }
    let padding = len < 8 && code == (1 << len) - 1;
    padding.then_some(out).ok_or("bad padding".into())
}

fn standing(index: usize) -> Result<(&'static str, &'static str), String> {
    let field = index.checked_sub(1).and_then(|index| STANDING.get(index));
    field
        .copied()
        .ok_or(format!("no field {index} in the static table"))
}

/// Lengths of the code words of each byte, in bits (RFC 7541, appendix B).
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The static table (RFC 7541, appendix A).
const STANDING: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut block = Vec::new();
        let long = "v".repeat(1000);
        for (name, value) in [(":path", "/"), ("x-a", &long), ("x-empty", "")] {
            write(&mut block, name.as_bytes(), value.as_bytes());
        }
        let fields = read(&block).unwrap();
        assert_eq!(fields[1], ("x-a".to_owned(), long));
        assert_eq!(fields.len(), 3);
    }

    /// RFC 7541, appendix C.6.1, with its table updates taken out.
    #[test]
    fn compressed_text_is_expanded() {
        let block = b"\x08\x82\x64\x02\x0f\x12\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff";
        let fields = read(block).unwrap();
        assert_eq!(fields[0], (":status".to_owned(), "302".to_owned()));
        assert_eq!(
            fields[1],
            (
                "date".to_owned(),
                "Mon, 21 Oct 2013 20:13:21 GMT".to_owned()
            )
        );
    }
}
