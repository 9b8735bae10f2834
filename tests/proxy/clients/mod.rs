//! Clients that take their time, and the others beside them.

mod awaited_content;
mod ended_clients;
mod few_workers;
pub mod http2_client;
mod left_writes;
mod limit_counts;
mod limits;
mod lingering;
mod log;
mod request_memory;
mod shares;
mod slow_readers;
mod stalled_streams;
mod stalls;
mod uploads;
mod websockets;
