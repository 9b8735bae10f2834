//! Requests whose end may be read in two ways: the proxy and its origin read each in the same one.

mod http1;
mod http1_cases;
mod http2;
mod origins;
