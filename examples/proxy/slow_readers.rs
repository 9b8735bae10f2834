//! Ends the slowest readers of a client that keeps so many removed responses in memory that large
//! ones are not stored any more, for anybody (`max_lingering_bytes`).
//!
//! Start at [`end_while_bytes_linger`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;

use crate::activity::Activity;
use crate::client_limits::ClientLimits;

/// How often it is looked for bytes that linger.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How much of the bytes beyond half of the limit is aimed at, at most.
const MAX_FACTOR: u64 = 1024;

/// A connection whose client has not read its responses yet.
struct Reader {
    since: Instant,
    bytes: u64,
    activity: Activity,
}

/// Looks once a second, until the returned value is dropped, whether lingering bytes take more than
/// half of their limit, and ends connections then.
pub fn end_while_bytes_linger<B: Backend>(
    limits: ClientLimits,
    cache: CacheHandle<B>,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut factor = 1;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let excess = cache.lingering_excess();
            if excess == 0 {
                factor = 1;
                continue;
            }
            end_slowest(&limits, excess.saturating_mul(factor));
            // Those that ended may have read what is still stored.
            factor = (factor * 2).min(MAX_FACTOR);
        }
    }))
}

/// Ends connections until they have kept so many bytes: each time the one that has kept some for
/// longest, of the client that keeps most then.
///
/// Clients that keep at most half of what the first one kept are left alone: what has ended
/// releases its bytes only after this, and may be enough.
fn end_slowest(limits: &ClientLimits, goal: u64) {
    let mut clients: Vec<_> = limits.connections().into_iter().map(readers).collect();
    let rank = |readers: &[Reader], index: usize| {
        let bytes: u64 = readers.iter().map(|reader| reader.bytes).sum();
        let longest = readers.last()?;
        Some((bytes, Reverse(longest.since), index))
    };
    let ranks = clients.iter().enumerate();
    let mut ranks: BinaryHeap<_> = ranks.filter_map(|(index, all)| rank(all, index)).collect();
    let half = ranks.peek().map_or(0, |(bytes, ..)| bytes / 2);
    let mut ended = 0;
    while ended < goal
        && let Some((bytes, _, index)) = ranks.pop()
        && bytes > half
        && let Some(reader) = clients[index].pop()
    {
        ended += reader.bytes;
        limits.end_slow_reader(&reader.activity);
        if let Some(next) = clients[index].last() {
            ranks.push((bytes - reader.bytes, Reverse(next.since), index));
        }
    }
}

/// The connections of a client that keep bytes, those that have for longest last.
fn readers(connections: Vec<Activity>) -> Vec<Reader> {
    let reader = |activity: Activity| {
        let (bytes, since) = activity.unread()?;
        Some(Reader {
            since,
            bytes,
            activity,
        })
    };
    let mut readers: Vec<_> = connections.into_iter().filter_map(reader).collect();
    readers.sort_unstable_by_key(|reader| Reverse(reader.since));
    readers
}
