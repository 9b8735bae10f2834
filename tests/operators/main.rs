//! What operators have: the page in a real browser, the board and the alerts, and the flags of the
//! programs. Needs chromium and prometheus (`promtool`).

mod address;
mod board;
mod chromium;
mod counting;
#[path = "../support/example.rs"]
mod example;
mod http_client;
mod log_lines;
mod origin_calls;
mod page;
mod programs;
mod refused_writes;
mod saturation;
mod terminal;
mod token;
