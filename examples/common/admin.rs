//! The flags of the service for operators, and the rules of its access.

use std::path::{Path, PathBuf};

use clap::Args;
use hyper::http::uri::Authority;
use tokio::net::TcpListener;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{CacheHandle, CacheLayer};

#[derive(Clone, Debug, Args)]
pub struct AdminOptions {
    /// Address of the operators' page, of /metrics for Prometheus, and of invalidation (see
    /// docs/operating.md); port 0 picks a free port. On a loopback address everything can be read
    /// without a token. Prints `admin on http://ADDR` when it is ready [default: none]
    #[arg(long, value_name = "HOST:PORT", verbatim_doc_comment)]
    pub admin: Option<String>,

    /// File with the token that invalidation needs, and reading from other machines: at least 16
    /// letters and digits. Without one nothing can be invalidated. SIGHUP makes the proxy read it
    /// again
    #[arg(long, value_name = "FILE", requires = "admin", verbatim_doc_comment)]
    pub admin_token_file: Option<PathBuf>,

    /// Name under which operators reach the address, with a port if it is not that of http or
    /// https; can be given several times. Needed for names other than localhost, and behind a proxy
    /// that ends TLS: --admin-host ops.example.com. Reading then needs the token, too
    #[arg(long, value_name = "HOST[:PORT]", requires = "admin", value_parser = host,
          verbatim_doc_comment)]
    pub admin_host: Vec<String>,
}

fn host(text: &str) -> Result<String, String> {
    let authority = text.parse::<Authority>();
    let is_host = |authority: &Authority| !authority.host().is_empty() && !text.contains('@');
    match authority.is_ok_and(|authority| is_host(&authority)) {
        true => Ok(text.to_owned()),
        false => Err("expected a name, or a name with a port".to_owned()),
    }
}

/// Who may do what with the service.
#[derive(Clone)]
pub struct AdminAccess {
    token: Option<String>,
    /// Whether everything can be read without the token.
    reads_are_open: bool,
    hosts: Vec<String>,
    /// The port of the address, once it is known.
    port: Option<u16>,
}

impl AdminOptions {
    /// Listens on the address of `--admin`; `None` without one.
    pub async fn listen(&self) -> Result<Option<(TcpListener, AdminAccess)>, String> {
        let Some(address) = &self.admin else {
            return Ok(None);
        };
        let token = self.token()?;
        let listener = crate::listen::listen(address).await;
        let listener = listener.map_err(|error| format!("--admin {address}: {error}"))?;
        let local = listener.local_addr();
        let is_local = local.as_ref().is_ok_and(|local| local.ip().is_loopback());
        if !is_local && token.is_none() {
            return Err(format!(
                "--admin {address} can be reached from other machines: add --admin-token-file, or \
                 listen on 127.0.0.1"
            ));
        }
        if token.is_none() && !self.admin_host.is_empty() {
            return Err(
                "--admin-host: others reach the address: add --admin-token-file".to_owned(),
            );
        }
        let access = AdminAccess {
            token,
            // Where others reach it by a name, a proxy on this machine may send their requests.
            reads_are_open: is_local && self.admin_host.is_empty(),
            hosts: self.admin_host.clone(),
            port: local.ok().map(|local| local.port()),
        };
        Ok(Some((listener, access)))
    }

    /// Checks the file of `--admin-token-file` without listening.
    #[allow(dead_code, reason = "not every example checks options")]
    pub fn check(&self) -> Result<(), String> {
        let cache = CacheLayer::new(None::<MemoryBackend>).handle();
        let access = AdminAccess {
            token: self.token()?,
            reads_are_open: true,
            hosts: self.admin_host.clone(),
            port: None,
        };
        access.service(cache).map(drop)
    }

    /// The token, if there is a file with one.
    fn token(&self) -> Result<Option<String>, String> {
        self.admin_token_file.as_deref().map(read_token).transpose()
    }
}

fn read_token(file: &Path) -> Result<String, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("--admin-token-file {name}: {error}"))?;
    Ok(text.trim().to_owned())
}

impl AdminAccess {
    /// Reads the token of a service again, and sets it there. With an error, both stay as they are.
    #[allow(dead_code, reason = "not all programs read something again")]
    pub fn read_token_again(
        &mut self,
        options: &AdminOptions,
        admin: Admin,
    ) -> Result<Option<Admin>, String> {
        let token = options.token()?;
        if token == self.token {
            return Ok(None);
        }
        let admin = with_token(admin, token.as_deref())?;
        self.token = token;
        Ok(Some(admin))
    }

    /// The service for the cache of a handle.
    pub fn service<B: Backend>(&self, cache: CacheHandle<B>) -> Result<Admin, String> {
        let mut admin = Admin::new(cache)
            .allow_unauthenticated_reads(self.reads_are_open)
            .hosts(self.hosts.clone());
        if let Some(port) = self.port {
            admin = admin.port(port);
        }
        with_token(admin, self.token.as_deref())
    }
}

fn with_token(admin: Admin, token: Option<&str>) -> Result<Admin, String> {
    let Some(token) = token else {
        return Ok(admin);
    };
    let admin = admin.try_token(token);
    admin.map_err(|error| format!("--admin-token-file: {error}"))
}
