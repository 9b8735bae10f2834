//! WebSockets (RFC 6455): after a 101 the proxy copies bytes between client and upstream.
//!
//! Knows nothing of the WebSocket protocol beyond its handshake's fields.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{Extensions, HeaderMap, Method, Request, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::sleep;
use tokio_util::io::InspectReader;
use tracing::{Instrument, Span};

use crate::clock::throttle::Throttle;
use crate::clock::{Clock, SystemClock};
use crate::error::causes::WithCauses;
use crate::semantics::fields;
use crate::semantics::marks::ExplainedRequest;

use super::body::bounded_waits::{BoundedWait, BoundedWaits, ClientNetwork};
use super::body::places::LoadStats;

/// Admits one warning per second about tunnels beyond the limit.
static THROTTLE: Throttle = Throttle::new();

/// The tunnels of a proxy. Clones share their number.
#[derive(Clone, Debug)]
pub(super) struct Tunnels {
    pub(super) idle_timeout: Duration,
    pub(super) max: usize,
    open: BoundedWaits,
    refused: Arc<AtomicU64>,
}

impl Tunnels {
    /// These tunnels with the open ones, and the counts, of earlier ones.
    pub(super) fn succeeding(self, earlier: &Self) -> Self {
        Self {
            idle_timeout: self.idle_timeout,
            max: self.max,
            ..earlier.clone()
        }
    }

    /// Adds the counts of tunnels to those of requests.
    pub(super) fn add_stats(&self, stats: LoadStats) -> LoadStats {
        LoadStats {
            refused_tunnels: self.refused.load(Ordering::Relaxed),
            ended_tunnels: self.open.ended(),
            ..stats
        }
    }

    /// Counts a tunnel until the returned value is dropped; `None` if there are too many.
    fn begin(&self, client: ClientNetwork) -> Option<BoundedWait> {
        let begun = self.open.try_begin(self.max, client);
        if begun.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            if let Some(suppressed) = THROTTLE.admit(SystemClock.now().monotonic()) {
                let max = self.max;
                tracing::warn!(max, suppressed, "websocket refused: too many are open");
            }
        }
        begun
    }
}

impl Default for Tunnels {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(10 * 60),
            max: 1024,
            open: BoundedWaits::default(),
            refused: Arc::default(),
        }
    }
}

/// The client's side of a WebSocket, available once the client has received its 101.
pub(super) struct WebSocketTunnel {
    client: OnUpgrade,
    idle_timeout: Duration,
    counted: BoundedWait,
    /// All that is logged about the tunnel says which request it is of.
    span: Span,
}

impl WebSocketTunnel {
    /// Takes the client's side from a request for a WebSocket; `None` for any other request, and if
    /// there are too many tunnels.
    ///
    /// Other protocols are not upgraded to: a server may ignore `Upgrade` (RFC 9110 §7.8).
    pub(super) fn from_request<B>(
        request: &mut Request<B>,
        tunnels: &Tunnels,
        client: ClientNetwork,
    ) -> Option<Self> {
        if !is_requested(request) {
            return None;
        }
        let counted = tunnels.begin(client)?;
        let client = request.extensions_mut().remove::<OnUpgrade>()?;
        let (method, path) = (request.method(), request.uri().path());
        let span = tracing::debug_span!("websocket", %method, path);
        Some(Self {
            client,
            idle_timeout: tunnels.idle_timeout,
            counted,
            span,
        })
    }

    /// Whether a 101 switches to the WebSocket protocol.
    pub(super) fn is_accepted<B>(response: &Response<B>) -> bool {
        is_websocket_upgrade(response.headers())
    }

    /// Connects both sides in a task that ends when one side fails or both have ended.
    pub(super) fn connect<B>(self, response: &mut Response<B>) {
        let upstream = hyper::upgrade::on(response);
        let ended = self.counted.ended().clone();
        let tunnel = async move {
            tokio::select! {
                () = copy(self.client, upstream, self.idle_timeout) => {}
                () = ended.cancelled() => {
                    log_ended();
                }
            }
            drop(self.counted);
        };
        tokio::spawn(tunnel.instrument(self.span));
    }
}

fn log_ended() {
    match THROTTLE.admit(SystemClock.now().monotonic()) {
        Some(suppressed) => tracing::warn!(
            suppressed,
            "websocket closed: its client has the most of max_tunnels"
        ),
        None => tracing::debug!("websocket closed: its client has the most of max_tunnels"),
    }
}

/// Copies bytes in both directions until one side fails, both have ended, or neither sends anything
/// for `idle_timeout`.
async fn copy(client: OnUpgrade, upstream: OnUpgrade, idle_timeout: Duration) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(error = %WithCauses(&error), "websocket not established");
            return;
        }
    };
    let activity = Activity::default();
    let (client, upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let mut client = InspectReader::new(client, |_| activity.record());
    let mut upstream = InspectReader::new(upstream, |_| activity.record());
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut upstream) => match copied {
            Ok((sent, received)) => tracing::debug!(sent, received, "websocket closed"),
            Err(error) => tracing::debug!(error = %WithCauses(&error), "websocket failed"),
        },
        () = activity.wait_for_pause(idle_timeout) => {
            tracing::debug!("websocket closed: nothing was sent for tunnel_timeout");
        }
    }
}

/// Whether bytes were received since the last look.
#[derive(Debug, Default)]
struct Activity(AtomicBool);

impl Activity {
    fn record(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Waits until nothing was received for `limit`, or for up to twice as long.
    async fn wait_for_pause(&self, limit: Duration) {
        loop {
            sleep(limit).await;
            if !self.0.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Whether a request is for a WebSocket, and its connection can become one.
pub(super) fn is_requested<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && is_websocket_upgrade(request.headers())
        && can_upgrade(request.extensions())
}

fn can_upgrade(extensions: &Extensions) -> bool {
    extensions.get::<OnUpgrade>().is_some() || extensions.get::<ExplainedRequest>().is_some()
}

/// Whether `Connection` and `Upgrade` ask for, or agree to, the WebSocket protocol.
fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    let equals = |wanted: &'static [u8]| move |value: &[u8]| value.eq_ignore_ascii_case(wanted);
    // First: next to no message has it.
    let protocol = fields::single(headers, &UPGRADE);
    protocol.is_some_and(|protocol| equals(b"websocket")(protocol.as_bytes()))
        && fields::list(headers, &CONNECTION).any(equals(b"upgrade"))
}
