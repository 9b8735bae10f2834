//! `--watch`: a line on the terminal that says what the program does now.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};
use tower_response_cache::stats::{RequestResult, Stats};

use crate::log;

/// The longest time that is recorded, in microseconds; longer ones count as this.
const MAX_TIME: u64 = 60_000_000;

/// The times of requests since the last line.
pub struct Watch {
    times: Mutex<Histogram<u64>>,
}

impl Watch {
    /// Begins to write the line, once a second and for as long as the program runs; `None` if it is
    /// not wanted, or stdout is no terminal.
    pub fn start(is_wanted: bool, stats: impl Fn() -> Stats + Send + 'static) -> Option<Arc<Self>> {
        if !is_wanted || !io::stdout().is_terminal() {
            return None;
        }
        let times = Histogram::new_with_bounds(1, MAX_TIME, 2).ok()?;
        let watch = Arc::new(Self {
            times: Mutex::new(times),
        });
        // Taken now, so that the first line is about all requests whose times it counts.
        let before = stats();
        tokio::spawn(watch.clone().write_lines(before, stats));
        Some(watch)
    }

    /// Records a request that began at this time, and whose response now begins.
    pub fn record(&self, begun: Instant) {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(MAX_TIME);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.saturating_record(micros);
    }

    async fn write_lines(self: Arc<Self>, mut before: Stats, stats: impl Fn() -> Stats) {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("{msg}");
        line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let behind = line.clone();
        log::write_around(move |write| behind.suspend(write));
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let now = stats();
            line.set_message(self.line(&before, &now));
            line.tick();
            before = now;
        }
    }

    /// The line about one second.
    fn line(&self, before: &Stats, now: &Stats) -> String {
        let (p99, rate) = {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = (times.value_at_quantile(0.99), times.len());
            times.reset();
            taken
        };
        let of = |result| {
            now.requests
                .get(result)
                .saturating_sub(before.requests.get(result))
        };
        let all = now.requests.total().saturating_sub(before.requests.total());
        let others = [
            RequestResult::Bypass,
            RequestResult::Canceled,
            RequestResult::Outside,
        ];
        let others: u64 = others.into_iter().map(of).sum();
        let lookups = all.saturating_sub(others);
        let good = [
            RequestResult::Hit,
            RequestResult::Stale,
            RequestResult::Revalidated,
            RequestResult::Collapsed,
        ];
        let good: u64 = good.into_iter().map(of).sum();
        let ratio = match lookups {
            0 => "-".to_owned(),
            lookups => format!("{:.1} %", good as f64 / lookups as f64 * 100.0),
        };
        let bytes = now
            .body_bytes
            .total()
            .saturating_sub(before.body_bytes.total());
        let p99 = Duration::from_micros(if rate == 0 { 0 } else { p99 });
        let usage = now.usage.map_or_else(String::new, |usage| {
            format!("   {} stored", HumanBytes(usage.bytes))
        });
        format!(
            "{rate} requests/s   hit ratio {ratio}   p99 {p99:?}   {}/s{usage}",
            HumanBytes(bytes)
        )
    }
}
