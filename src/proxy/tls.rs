//! Whom `https://` upstreams are trusted by.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

/// The certificates that the system trusts, as they were when they were first needed. What of them cannot be read is logged
/// and left out: nothing is trusted then.
pub(super) fn by_the_system() -> ClientConfig {
    static SYSTEM: OnceLock<ClientConfig> = OnceLock::new();
    SYSTEM.get_or_init(read).clone()
}

fn read() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "the system's certificates cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
