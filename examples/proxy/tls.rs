//! TLS to clients: `--tls-cert` and `--tls-key`, with the feature `proxy-tls`.

#[cfg(feature = "proxy-tls")]
pub use with_rustls::{ClientTls, TlsStream, speaks_http1};
#[cfg(not(feature = "proxy-tls"))]
pub use without::{ClientTls, TlsStream, speaks_http1};

#[cfg(feature = "proxy-tls")]
mod with_rustls {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, PoisonError, RwLock};

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    pub use tokio_rustls::server::TlsStream;

    /// A certificate and its key, as they were when their files were last read. Clones share them.
    #[derive(Clone)]
    pub struct ClientTls {
        certificate: PathBuf,
        key: PathBuf,
        config: Arc<RwLock<Arc<ServerConfig>>>,
    }

    impl ClientTls {
        /// Reads the files.
        pub fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
            let config = load(certificate, key)?;
            Ok(Self {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                config: Arc::new(RwLock::new(config)),
            })
        }

        /// Reads the files again. If they are not valid, the old certificate stays.
        pub fn reload(&self) {
            match load(&self.certificate, &self.key) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!(certificate = ?self.certificate, "certificate read again");
                }
                Err(error) => {
                    tracing::error!(error, "certificate not read again; the old one is kept")
                }
            }
        }

        /// Makes the handshake with a client.
        pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
        where
            S: AsyncRead + AsyncWrite + Unpin,
        {
            let config = self
                .config
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            TlsAcceptor::from(config).accept(stream).await
        }
    }

    /// Whether a client has chosen HTTP/1.1 in its handshake.
    pub fn speaks_http1<S>(stream: &TlsStream<S>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(b"http/1.1")
    }

    fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("--tls-cert {}: {error}", certificate.display()));
        let private_key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| format!("--tls-key {}: {error}", key.display()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(certificates?, private_key)
            .map_err(|error| format!("--tls-cert {}: {error}", certificate.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(not(feature = "proxy-tls"))]
mod without {
    use std::io;

    pub type TlsStream<S> = S;

    pub fn speaks_http1<S>(_: &TlsStream<S>) -> bool {
        false
    }

    /// There is none.
    #[derive(Clone)]
    pub enum ClientTls {}

    impl ClientTls {
        pub fn reload(&self) {
            match *self {}
        }

        pub async fn accept<S>(&self, _: S) -> io::Result<S> {
            match *self {}
        }
    }
}
