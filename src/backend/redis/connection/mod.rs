//! Connections to one Redis server: opening, pooling, sending commands, health checks.
//!
//! ```text
//! Pool ──▶ PoolSlot: empty ──▶ connecting ──▶ open ──▶ broken, empty again
//!                                              │
//!                                              ▼
//!                                          Connection ──▶ Redis
//!                                            │  ServerIdentity  which server, run and data
//!                                            │  ServerClock     its clock against the local one
//!                                            └─ ReplyMonitor    since when no reply has arrived
//! ```
//!
//! This module knows commands and replies. It knows neither cache keys, tokens nor stored
//! responses: those belong to the protocol, which builds on it.
//!
//! Start reading at [`Pool::send`], then [`Connection::connect`] and `health_check.rs`.

mod clocks;
mod command_error;
mod handshake;
mod health_check;
mod multiplexed;
mod owner_record;
mod pool;
mod problem;
mod reply_monitor;
mod script;
mod server_info;

pub(crate) use self::command_error::CommandError;
pub(crate) use self::handshake::HandshakeOptions;
pub(crate) use self::multiplexed::{Connection, ConnectionOptions};
pub(crate) use self::owner_record::OwnerRecord;
pub(crate) use self::pool::{Pool, ScriptCall, SendError};
pub use self::problem::RedisProblem;
pub(crate) use self::script::LuaScript;
pub(crate) use self::server_info::ServerIdentity;
