//! The encoders.

use bytes::Bytes;

use crate::semantics::content_coding::Coding;

/// Codes content, on a thread that may be blocked. `None` if that is no smaller.
#[cfg(feature = "compress")]
pub(super) fn encode(coding: Coding, content: &[u8]) -> Option<Bytes> {
    use async_compression::Level::Precise;
    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};

    let room = Vec::with_capacity(content.len() / 4);
    // Each level takes about a tenth of the time of the best one, for nine tenths of its gain.
    let coded = match coding {
        Coding::Zstd => {
            finished(ZstdEncoder::with_quality(room, Precise(6)), content)?.into_inner()
        }
        Coding::Brotli => {
            finished(BrotliEncoder::with_quality(room, Precise(5)), content)?.into_inner()
        }
        Coding::Gzip => {
            finished(GzipEncoder::with_quality(room, Precise(6)), content)?.into_inner()
        }
    };
    (coded.len() < content.len()).then(|| Bytes::from(coded))
}

/// Nothing sets the option that codes anything.
#[cfg(not(feature = "compress"))]
pub(super) fn encode(_: Coding, _: &[u8]) -> Option<Bytes> {
    None
}

/// An encoder that has got all of the content. It writes to memory, which never waits.
#[cfg(feature = "compress")]
fn finished<E: tokio::io::AsyncWrite + Unpin>(mut encoder: E, content: &[u8]) -> Option<E> {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use tokio::io::AsyncWriteExt;

    let written = pin!(async {
        encoder.write_all(content).await?;
        encoder.shutdown().await
    });
    let polled = written.poll(&mut Context::from_waker(Waker::noop()));
    matches!(polled, Poll::Ready(Ok(()))).then_some(encoder)
}
