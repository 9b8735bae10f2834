//! What happened, for the report of a seed that fails.

use std::sync::{Mutex, MutexGuard};

use tokio::time::Instant;

/// The most events that a report shows.
const MOST_EVENTS: usize = 60;

/// The events of one run, and the first promise that was broken.
///
/// Events are kept only on request: a seed that fails can be run again.
pub struct Report(Mutex<Events>);

struct Events {
    begun: Instant,
    are_kept: bool,
    /// What happened to a resource, in order.
    events: Vec<(&'static str, String)>,
    broken: Option<(&'static str, String)>,
}

impl Report {
    pub fn new(keeps_events: bool) -> Self {
        Self(Mutex::new(Events {
            begun: Instant::now(),
            are_kept: keeps_events,
            events: Vec::new(),
            broken: None,
        }))
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// When the run began.
    pub fn begun(&self) -> Instant {
        self.events().begun
    }

    /// Notes an event of a resource.
    pub fn note(&self, resource: &'static str, event: impl FnOnce() -> String) {
        let mut events = self.events();
        if events.broken.is_some() || !events.are_kept {
            return;
        }
        let event = format!("{:>9.3?} {}", events.begun.elapsed(), event());
        events.events.push((resource, event));
    }

    /// Notes that a promise about a resource was broken, and how.
    pub fn broke(&self, resource: &'static str, how: impl Into<String>) {
        let how = how.into();
        self.note(resource, || format!("BROKEN: {how}"));
        self.events().broken.get_or_insert((resource, how));
    }

    pub fn is_broken(&self) -> bool {
        self.events().broken.is_some()
    }

    /// The first broken promise with the history of its resource.
    pub fn broken(&self) -> Option<String> {
        let events = self.events();
        let (resource, how) = events.broken.as_ref()?;
        let history = events.events.iter();
        let of_it =
            history.filter(|(of, _)| of == resource || resource.is_empty() || of.is_empty());
        let lines: Vec<_> = of_it.map(|(of, event)| format!("{event} {of}")).collect();
        let first = lines.len().saturating_sub(MOST_EVENTS);
        Some(format!("{how}\n{}", lines[first..].join("\n")))
    }
}
