//! HTTP/2 frames, byte by byte, for origins and clients that no library would be.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const GOAWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

pub const NO_ERROR: u32 = 0;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// RFC 9113 §4.1.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A literal field without an index.
pub fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).expect("a short text"));
        block.extend(text.as_bytes());
    }
}

/// A frame that was received.
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Takes the first frame off, if all of it is there.
    pub fn take(received: &mut Vec<u8>) -> Option<Self> {
        let length =
            u32::from_be_bytes([0, *received.first()?, *received.get(1)?, *received.get(2)?]);
        let end = 9 + length as usize;
        let bytes: Vec<u8> = (received.len() >= end).then(|| received.drain(..end).collect())?;
        let stream: [u8; 4] = bytes[5..9].try_into().expect("four bytes");
        Some(Self {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(stream),
            payload: bytes[9..].to_vec(),
        })
    }

    pub async fn read(connection: &mut TcpStream) -> std::io::Result<Self> {
        let mut prefix = [0; 9];
        connection.read_exact(&mut prefix).await?;
        let length = u32::from_be_bytes([0, prefix[0], prefix[1], prefix[2]]);
        let mut payload = vec![0; length as usize];
        connection.read_exact(&mut payload).await?;
        let stream: [u8; 4] = prefix[5..].try_into().expect("four bytes");
        Ok(Self {
            kind: prefix[3],
            flags: prefix[4],
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }
}
