//! Clients that take their time, and the others beside them.

pub mod http2_client;
mod limits;
mod log;
mod slow_readers;
mod stalls;
mod uploads;
mod websockets;
