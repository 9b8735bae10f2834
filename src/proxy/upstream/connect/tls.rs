//! TLS for `https://` upstreams, and its default configuration.

use std::sync::{Arc, OnceLock};

use hyper_rustls::HttpsConnector;
use rustls::{ClientConfig, RootCertStore};

use crate::proxy::upstream::options::ClientOptions;

/// Adds TLS, for URIs whose scheme is `https`, to a connector.
pub(super) fn with_tls<C>(connector: C, options: &ClientOptions) -> HttpsConnector<C> {
    let config = options.tls.clone().unwrap_or_else(system_config);
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http();
    match (options.http2_only, options.negotiate_http2) {
        (true, _) => builder.enable_http2().wrap_connector(connector),
        (false, true) => builder.enable_all_versions().wrap_connector(connector),
        (false, false) => builder.enable_http1().wrap_connector(connector),
    }
}

/// A configuration that trusts the system's root certificates, as they were at the first call.
///
/// Certificates that cannot be read are logged and left out. If none can be read, no upstream is
/// trusted.
fn system_config() -> ClientConfig {
    static SYSTEM: OnceLock<ClientConfig> = OnceLock::new();
    SYSTEM.get_or_init(load).clone()
}

fn load() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::warn!(%error, "system root certificates not readable; left out");
    }
    roots.add_parsable_certificates(loaded.certs);
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
