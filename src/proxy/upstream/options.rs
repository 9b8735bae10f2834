//! The options of connections to servers.

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use crate::proxy::body::pace::LowestRate;
use crate::proxy::body::timers::reader_timer::ReaderLimits;

use super::addresses::Resolver;

/// The longest time that an option can have: an `Instant` much later than now may not exist.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The default of the largest number of header fields, of requests and responses.
pub(in crate::proxy) const DEFAULT_MAX_FIELDS: usize = 100;

/// The options of connections and exchanges; the fields are documented with the options of
/// [`ReverseProxy`](crate::proxy::ReverseProxy) of these names.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct ClientOptions {
    pub(in crate::proxy) connect_timeout: Duration,
    pub(in crate::proxy) head_timeout: Duration,
    pub(in crate::proxy) idle_timeout: Duration,
    pub(in crate::proxy) reader_timeout: Duration,
    /// In bytes per second, as the next one; 0 for none.
    pub(in crate::proxy) min_upload_rate: u64,
    pub(in crate::proxy) min_download_rate: u64,
    pub(in crate::proxy) rate_window: Duration,
    /// In bytes.
    pub(in crate::proxy) max_buffered_upload: u64,
    pub(in crate::proxy) max_idle_connections: usize,
    pub(in crate::proxy) pool_idle_timeout: Duration,
    pub(in crate::proxy) max_connection_age: Duration,
    pub(in crate::proxy) max_head: usize,
    pub(in crate::proxy) max_head_fields: usize,
    pub(in crate::proxy) http2_only: bool,
    /// Lets an `https://` upstream choose HTTP/2 by ALPN.
    pub(in crate::proxy) negotiate_http2: bool,
    pub(in crate::proxy) resolver: Resolver,
    /// Names the host that the client asked for in TLS handshakes, if upstreams receive it.
    pub(in crate::proxy) tls_by_host: bool,
    #[cfg(feature = "proxy-tls")]
    pub(in crate::proxy) tls: Option<rustls::ClientConfig>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            reader_timeout: Duration::from_secs(60),
            min_upload_rate: LowestRate::DEFAULT.rate,
            min_download_rate: LowestRate::DEFAULT.rate,
            rate_window: LowestRate::DEFAULT.window,
            max_buffered_upload: 64 * 1024,
            max_idle_connections: 128,
            pool_idle_timeout: Duration::from_secs(30),
            max_connection_age: Duration::from_secs(60),
            max_head: 64 * 1024,
            max_head_fields: DEFAULT_MAX_FIELDS,
            http2_only: false,
            negotiate_http2: false,
            resolver: Resolver::default(),
            tls_by_host: true,
            #[cfg(feature = "proxy-tls")]
            tls: None,
        }
    }
}

impl ClientOptions {
    /// The largest number of header fields, if it is not hyper's own: to set that, too, makes it
    /// prepare memory for each head.
    pub(super) fn other_max_head_fields(&self) -> Option<usize> {
        Some(self.max_head_fields).filter(|max| *max != DEFAULT_MAX_FIELDS)
    }

    /// Shortens times beyond [`MAX_TIME`].
    pub(in crate::proxy) fn limit_times(&mut self) {
        for time in [
            &mut self.connect_timeout,
            &mut self.head_timeout,
            &mut self.idle_timeout,
            &mut self.reader_timeout,
            &mut self.rate_window,
            &mut self.pool_idle_timeout,
            &mut self.max_connection_age,
        ] {
            *time = (*time).min(MAX_TIME);
        }
    }

    /// The lowest rate at which clients may send content.
    pub(in crate::proxy) fn lowest_upload_rate(&self) -> LowestRate {
        LowestRate {
            rate: self.min_upload_rate,
            window: self.rate_window,
        }
    }

    /// The limits of clients that read responses.
    pub(in crate::proxy) fn reader_limits(&self) -> ReaderLimits {
        ReaderLimits {
            timeout: self.reader_timeout,
            lowest_rate: LowestRate {
                rate: self.min_download_rate,
                window: self.rate_window,
            },
        }
    }

    /// Whether connections to a server belong to the host that a client asked for, which TLS
    /// handshakes then name.
    pub(super) fn is_keyed_by_host(&self, server: &Uri) -> bool {
        // Upstreams receive the client's host unless HTTP/2 is negotiated or demanded.
        let preserves_host = !self.http2_only && !self.negotiate_http2;
        self.tls_by_host && preserves_host && server.scheme() == Some(&Scheme::HTTPS)
    }
}
