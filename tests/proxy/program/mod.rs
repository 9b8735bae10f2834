//! The program's own files: certificates and configuration.

mod config_file;
mod explaining;
mod queries;
mod reload;
mod secrets;
#[cfg(feature = "proxy-tls")]
mod tls_to_clients;
