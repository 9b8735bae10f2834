//! Hits within the process: CPU time of one thread, ratios within one run, allocations.

use std::fmt::Debug;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use axum::body::Body;
use bytes::Bytes;
use cpu_time::ThreadTime;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::unconstrained;
use tower::{Service, ServiceExt};

use crate::Effort;
use crate::contestants::{BoxError, CONTESTANTS, Visit, visit};
use crate::inner::request;
use crate::workload::{uri, zipf_picks};

const KEYS: usize = 10_000;
/// The requests for each contestant in a round. With fewer, the first ones of a round, which find
/// the processor's caches left by another contestant, would count for more.
const REQUESTS: usize = 1000;
/// The length of the sequence of keys that all contestants are asked for.
const SEQUENCE: usize = 1 << 16;

struct Workload {
    name: &'static str,
    keys: usize,
    length: usize,
}

const WORKLOADS: [Workload; 4] = [
    Workload {
        name: "one key, 150 B",
        keys: 1,
        length: 150,
    },
    Workload {
        name: "10,000 keys, Zipf 0.99, 150 B",
        keys: KEYS,
        length: 150,
    },
    Workload {
        name: "one key, 16 KiB",
        keys: 1,
        length: 16 << 10,
    },
    Workload {
        name: "one key, 900 KiB",
        keys: 1,
        length: 900 << 10,
    },
];

/// Answers a request for each of the keys.
type Serve = Box<dyn FnMut(&Runtime, &[usize]) + Send>;

struct Row {
    name: &'static str,
    serve: Serve,
    /// A second clone of the service, for another thread.
    other: Serve,
    made: Arc<AtomicUsize>,
}

/// Measures all workloads, and prints a table of each.
pub fn report(effort: Effort) {
    println!("## Hits within the process\n");
    println!("CPU time of one thread; request built and dropped, body read to its end.\n");
    for workload in WORKLOADS {
        let runtime = Builder::new_current_thread().enable_time().build();
        report_workload(&workload, &runtime.expect("a runtime"), effort);
    }
}

fn report_workload(workload: &Workload, runtime: &Runtime, effort: Effort) {
    let uris: Arc<[Uri]> = (0..workload.keys).map(uri).collect();
    let mut rows = vec![Row {
        name: "the request alone",
        serve: requesting(uris.clone()),
        other: requesting(uris.clone()),
        made: Arc::default(),
    }];
    for contestant in &CONTESTANTS {
        let serving = Serving { uris: uris.clone() };
        let made = visit(contestant.name, workload.length, serving);
        let ([serve, other], made) = runtime.block_on(made);
        rows.push(Row {
            name: contestant.name,
            serve,
            other,
            made,
        });
    }
    let every: Vec<usize> = (0..workload.keys).collect();
    for row in &mut rows {
        (row.serve)(runtime, &every);
    }
    let made_before: Vec<_> = rows
        .iter()
        .map(|row| row.made.load(Ordering::Relaxed))
        .collect();
    let picks = zipf_picks(workload.keys, 0.99, SEQUENCE);
    let slices = Slices { picks: &picks };
    let allocations: Vec<f64> = rows
        .iter_mut()
        .map(|row| allocations(row, runtime, slices))
        .collect();
    let mut nanos = Vec::new();
    // Counting allocations takes time: not during the measurement.
    allocation_counter::opt_out(|| nanos = measure(&mut rows, runtime, slices, effort.rounds));
    let in_two_threads: Vec<f64> = rows
        .iter_mut()
        .map(|row| in_two_threads(row, slices, effort.rounds / 2))
        .collect();

    println!("### {}\n", workload.name);
    println!("| | ns | x floor | x floor, without the request | allocations | ns in two threads |");
    println!("|---|---|---|---|---|---|");
    for (at, row) in rows.iter().enumerate() {
        if row.made.load(Ordering::Relaxed) > made_before[at] {
            println!("| {} | not cached | | | |", row.name);
            continue;
        }
        let of = |value: &dyn Fn(&Vec<f64>) -> f64| median(nanos.iter().map(value));
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.1} | {:.0} |",
            row.name,
            of(&|round| round[at]),
            of(&|round| round[at] / round[FLOOR]),
            of(&|round| (round[at] - round[0]) / (round[FLOOR] - round[0])),
            allocations[at],
            in_two_threads[at]
        );
    }
    println!();
}

/// The row of the floor, which follows that of the request alone.
const FLOOR: usize = 1;

/// Nanoseconds of CPU time per request: an entry for each round, with one of each row.
fn measure(
    rows: &mut [Row],
    runtime: &Runtime,
    slices: Slices<'_>,
    rounds: usize,
) -> Vec<Vec<f64>> {
    let round = |round: usize| {
        let picks = slices.of_round(round);
        let mut nanos = vec![0.0; rows.len()];
        for turn in 0..rows.len() {
            // Each runs after each other one in turn, with the processor's caches left by it.
            let at = (round + turn) % rows.len();
            let start = ThreadTime::now();
            (rows[at].serve)(runtime, picks);
            nanos[at] = start.elapsed().as_nanos() as f64 / picks.len() as f64;
        }
        nanos
    };
    (0..rounds).map(round).collect()
}

/// Nanoseconds of CPU time per request while two threads do the same at once.
fn in_two_threads(row: &mut Row, slices: Slices<'_>, rounds: usize) -> f64 {
    let start = Barrier::new(2);
    let run = |serve: &mut Serve| {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        start.wait();
        let nanos = (0..rounds.max(1)).map(|round| {
            let picks = slices.of_round(round);
            let start = ThreadTime::now();
            serve(&runtime, picks);
            start.elapsed().as_nanos() as f64 / picks.len() as f64
        });
        median(nanos)
    };
    std::thread::scope(|scope| {
        let run = &run;
        let other = scope.spawn(|| {
            allocation_counter::opt_out(|| {
                run(&mut row.other);
            });
        });
        let mut own = 0.0;
        allocation_counter::opt_out(|| own = run(&mut row.serve));
        other.join().expect("no thread panics");
        own
    })
}

fn allocations(row: &mut Row, runtime: &Runtime, slices: Slices<'_>) -> f64 {
    let picks = slices.of_round(0);
    let counted = allocation_counter::measure(|| (row.serve)(runtime, picks));
    counted.count_total as f64 / picks.len() as f64
}

/// A sequence of keys, of which each round takes a slice.
#[derive(Clone, Copy)]
struct Slices<'p> {
    picks: &'p [usize],
}

impl<'p> Slices<'p> {
    fn of_round(self, round: usize) -> &'p [usize] {
        let from = round * REQUESTS % (self.picks.len() - REQUESTS);
        &self.picks[from..from + REQUESTS]
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Makes a service ready to be asked for URIs.
struct Serving {
    uris: Arc<[Uri]>,
}

/// Builds a request for each key, and drops it.
fn requesting(uris: Arc<[Uri]>) -> Serve {
    Box::new(move |_, picks| {
        for pick in picks {
            black_box(request(&uris[*pick]));
        }
    })
}

impl Visit for Serving {
    type Output = ([Serve; 2], Arc<AtomicUsize>);

    fn visit<S, B>(self, service: S, made: Arc<AtomicUsize>) -> Self::Output
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Debug + Into<BoxError>>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let serving = [service.clone(), service].map(|service| serving(service, self.uris.clone()));
        (serving, made)
    }
}

fn serving<S, B>(mut service: S, uris: Arc<[Uri]>) -> Serve
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    Box::new(move |runtime, picks| {
        // Without tokio's cooperative budget: on a server each request has one of its own.
        runtime.block_on(unconstrained(async {
            for pick in picks {
                let ready = service.ready().await.expect("no service fails");
                let response = ready.call(request(&uris[*pick])).await;
                let body = response.expect("no service fails").into_body();
                let whole = body.collect().await;
                black_box(whole.map_err(Into::into).expect("no body fails"));
            }
        }));
    })
}
