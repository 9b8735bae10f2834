//! The protocol of Redis, version 2, as far as the tests speak it themselves.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
    Nil,
}

impl Reply {
    /// `OK`, as a server says it.
    pub fn ok() -> Self {
        Self::Simple("OK".into())
    }

    /// The text of a simple or bulk reply or an error; panics for others.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The number of an integer reply; panics for others.
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("no integer: {other:?}"),
        }
    }

    /// The replies in an array; panics for others.
    pub fn array(&self) -> &[Reply] {
        match self {
            Self::Array(replies) => replies,
            other => panic!("no array: {other:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// As a server writes it.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Simple(text) => format!("+{text}\r\n").into_bytes(),
            Self::Error(text) => format!("-{text}\r\n").into_bytes(),
            Self::Integer(number) => format!(":{number}\r\n").into_bytes(),
            Self::Nil => b"$-1\r\n".to_vec(),
            Self::Bulk(bytes) => {
                let length = format!("${}\r\n", bytes.len()).into_bytes();
                [&length, &bytes[..], b"\r\n"].concat()
            }
            Self::Array(replies) => {
                let mut bytes = format!("*{}\r\n", replies.len()).into_bytes();
                for reply in replies {
                    bytes.extend(reply.bytes());
                }
                bytes
            }
        }
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::Bulk(text.into())
    }
}

/// A command as a client writes it.
pub fn command<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let bulk = |argument: &A| Reply::Bulk(argument.as_ref().into());
    Reply::Array(arguments.iter().map(bulk).collect()).bytes()
}

type Reading<'r> = Pin<Box<dyn Future<Output = io::Result<Reply>> + Send + 'r>>;

/// Reads one reply, or one command, which is an array of bulk strings.
pub fn read<R: AsyncBufRead + Unpin + Send>(from: &mut R) -> Reading<'_> {
    Box::pin(async move {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line).await?;
        let Some((kind, rest)) = line
            .strip_suffix(b"\r\n")
            .and_then(|line| line.split_first())
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let text = String::from_utf8_lossy(rest).into_owned();
        let number = || text.parse::<i64>().map_err(io::Error::other);
        Ok(match kind {
            b'+' => Reply::Simple(text),
            b'-' => Reply::Error(text),
            b':' => Reply::Integer(number()?),
            b'$' | b'*' if number()? < 0 => Reply::Nil,
            b'$' => {
                let mut bytes = vec![0; number()? as usize + 2];
                from.read_exact(&mut bytes).await?;
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes)
            }
            b'*' => {
                let mut replies = Vec::new();
                for _ in 0..number()? {
                    replies.push(read(from).await?);
                }
                Reply::Array(replies)
            }
            _ => return Err(io::Error::other(format!("no reply: {text}"))),
        })
    })
}
