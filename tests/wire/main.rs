//! What an HTTP cache does as it is seen from outside: over real connections, HTTP/1.1 and HTTP/2, on memory and on Redis.
//!
//! Each case is a dialogue: what a client asks, what the origin answers if it is asked, what the client is told. It is held
//! once in each world.

mod client;
mod conditions;
mod connections;
mod dialogue;
mod directives;
mod parts;
mod server;
mod storing;
#[path = "../support/mod.rs"]
mod support;
mod writes;
