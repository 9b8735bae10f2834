//! Readers that stop, or read a little now and then, end no reader that keeps up with the window.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;

use super::{KIB, MIB, one_call, shared_heads};
use crate::support::time::{SECOND, in_virtual_time};

const SIZE: usize = 16 * MIB;
/// The size of the chunks that `send_chunks` sends.
const CHUNK: usize = 16 * KIB;
const SLOW_READER_TIMEOUT: Duration = Duration::from_secs(10);

/// A client: it reads at once up to an offset, and from then on one chunk in each of these times.
#[derive(Clone, Copy)]
struct Client {
    runs_to: usize,
    then: Option<Duration>,
}

/// One that stops.
const fn stops_at(runs_to: usize) -> Client {
    Client {
        runs_to,
        then: None,
    }
}

/// One that reads evenly.
const fn reads_each(time: Duration) -> Client {
    Client {
        runs_to: 0,
        then: Some(time),
    }
}

/// Reads as the client does: the bytes, and whether the body was whole.
async fn read<B>(mut response: Response<B>, client: Client) -> (usize, bool)
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let mut read = 0;
    loop {
        if read >= client.runs_to {
            match client.then {
                Some(time) => sleep(time).await,
                None => sleep(SECOND * 1_000_000).await,
            }
        }
        match response.frame().await {
            None => return (read, true),
            Some(Err(_)) => return (read, false),
            Some(Ok(frame)) => read += frame.into_data().map_or(0, |data| data.len()),
        }
    }
}

/// The end of the first client's body, and the time that it took, beside the others and a fast one.
async fn first_of(clients: &[Client]) -> ((usize, bool), Duration) {
    let (script, origin) = one_call();
    let service = in_virtual_time(MemoryBackend::default()).layer(origin);
    let mut heads = shared_heads(&service, clients.len() + 1, (script, SIZE)).await;
    let begun = Instant::now();
    let fast = heads.pop().expect("a head");
    let first = heads.remove(0);
    let mut others = JoinSet::new();
    others.spawn(read(fast, reads_each(Duration::ZERO)));
    for (head, client) in heads.into_iter().zip(&clients[1..]) {
        others.spawn(read(head, *client));
    }
    let end = read(first, clients[0]).await;
    (end, begun.elapsed())
}

/// A reader of 300 KiB/s.
const HONEST: Client = reads_each(Duration::from_millis(53));

/// Readers that stop leave less and less time to those that stop later, and to no one else.
#[tokio::test(start_paused = true)]
async fn readers_that_stop_end_no_reader_that_moves() {
    let alone = first_of(&[HONEST]).await.1;
    for count in [3, 10] {
        let mut clients = vec![HONEST];
        clients.extend((0..count).map(|number| stops_at(MIB / 2 + number * MIB)));
        let (end, took) = first_of(&clients).await;
        println!("{count} stop: {end:?} in {took:?}, alone {alone:?}");
        assert_eq!(end, (SIZE, true), "{count}");
        assert!(
            took <= alone + SLOW_READER_TIMEOUT * 3 / 2,
            "{count}: {took:?}"
        );
    }
}

/// Readers of one chunk per time, at different places: all of them are cut off together, and the
/// honest one is not, whatever they did just before that.
#[tokio::test(start_paused = true)]
async fn readers_of_a_little_are_cut_off_together() {
    let alone = first_of(&[HONEST]).await.1;
    for (every, stopping) in [(300, 0), (300, 3), (2_000, 0), (4_000, 3), (4_900, 3)] {
        let mut clients = vec![HONEST];
        clients.extend((0..stopping).map(|number| stops_at(MIB + number * MIB)));
        // Below 256 KiB in ten seconds from the first byte on that is not kept for all.
        clients.extend((0..10).map(|number| Client {
            runs_to: 4 * MIB + number * CHUNK,
            then: Some(Duration::from_millis(every + 400)),
        }));
        let (end, took) = first_of(&clients).await;
        println!("{every} ms, {stopping} stop: {end:?} in {took:?}, alone {alone:?}");
        assert_eq!(end, (SIZE, true), "{every} ms, {stopping}");
        let most = alone + SLOW_READER_TIMEOUT * 5 / 2;
        assert!(took <= most, "{every} ms, {stopping}: {took:?}");
    }
}

/// One that reads nearly a window at once, shortly before its time is over, does not leave another
/// one behind as the slowest.
#[tokio::test(start_paused = true)]
async fn a_reader_that_runs_at_the_last_moment_ends_no_other() {
    for late in [9_900, 9_950, 9_990, 9_999] {
        let (script, origin) = one_call();
        let service = in_virtual_time(MemoryBackend::default()).layer(origin);
        let heads = shared_heads(&service, 3, (script, SIZE)).await;
        let [honest, fast, mut runner] = heads.try_into().expect("three heads");
        let mut others = JoinSet::new();
        others.spawn(read(fast, reads_each(Duration::ZERO)));
        others.spawn(async move {
            let mut end = (0, true);
            sleep(Duration::from_millis(late)).await;
            for _ in 0..15 {
                match runner.frame().await {
                    Some(Ok(_)) => end.0 += CHUNK,
                    _ => return end,
                }
            }
            sleep(SECOND * 1_000_000).await;
            drop(runner);
            end
        });
        let end = read(honest, HONEST).await;
        assert_eq!(end, (SIZE, true), "{late}");
    }
}
