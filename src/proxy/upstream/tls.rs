//! The default TLS configuration for `https://` upstreams.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

/// A configuration that trusts the system's root certificates, as they were at the first call.
///
/// Certificates that cannot be read are logged and left out. If none can be read, no upstream is
/// trusted.
pub(super) fn system_config() -> ClientConfig {
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
