//! The program's own files: certificates and configuration.

mod config_file;
mod reload;
#[cfg(feature = "proxy-tls")]
mod tls_to_clients;
