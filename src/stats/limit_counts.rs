//! What limits of clients' connections, uploads and WebSockets have done, and of the log about them.

/// How often limits of what clients keep open have taken effect since the start, in front of the cache
/// and in the inner service.
///
/// Such clients get no response, or a late one, or one without their WebSocket; those of
/// `log_lines` notice nothing. Only `uploads` are among the
/// [refused requests](super::OriginLoad::refused), too. An [`OriginMonitor`](super::OriginMonitor)
/// says it, as what it is told by a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimitCounts {
    /// Connections that had to wait until they were served, because no more could be open: of all
    /// clients, or as files of the process.
    pub connections: u64,
    /// Connections that wait now, as far as the server knows: one for each of its addresses. Others
    /// may wait behind them in the system's queue.
    pub connections_waiting: usize,
    /// Connections that were closed because their client has too many.
    pub connections_per_client: u64,
    /// Connections that were closed because they had no request, and others waited.
    pub connections_ended: u64,
    /// Requests that were refused because those under way took too much memory.
    pub requests: u64,
    /// Requests with content that were refused because too many others had places for that.
    pub uploads: u64,
    /// Requests that ended because their clients were slow: slower than they may be, or while others
    /// came.
    pub slow_clients: u64,
    /// Requests for WebSockets whose `Upgrade` was ignored.
    pub tunnels: u64,
    /// WebSockets that were closed because their client has most of them.
    pub tunnels_per_client: u64,
    /// Lines of the log that were dropped, because it is read too slowly.
    pub log_lines: u64,
}
