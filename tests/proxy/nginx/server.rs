//! A real origin: nginx, serving the files of a folder.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::example::PATIENCE;
use crate::folder::Folder;
use crate::raw::exchange;

/// The beginning of paths that are asked for to mark a place in the log.
const MARK: &str = "/mark-";

/// Serves the folder `files` under `/`, validated each time; under `/minute/` and `/second/` fresh
/// for as long.
pub struct Nginx {
    pub port: u16,
    http2_port: u16,
    /// Where it speaks TLS, if it has a certificate.
    pub tls_port: u16,
    folder: Folder,
    child: Option<Child>,
    marks: AtomicUsize,
}

impl Nginx {
    pub async fn start(name: &str) -> Self {
        Self::with(name, "", None).await
    }

    /// One with more locations, on all of its ports, and perhaps with a certificate: that and its
    /// key in PEM.
    pub async fn with(name: &str, locations: &str, certificate: Option<[String; 2]>) -> Self {
        let folder = Folder::new(name);
        fs::create_dir_all(folder.path().join("files")).expect("a folder");
        folder.write("locations", locations);
        if let Some([certificate, key]) = &certificate {
            folder.write("certificate.pem", certificate);
            folder.write("key.pem", key);
        }
        loop {
            let ports = [free_port().await, free_port().await, free_port().await];
            let with_tls = certificate.is_some();
            folder.write("nginx.conf", configuration(&folder, ports, with_tls));
            let [port, http2_port, tls_port] = ports;
            if let Some(child) = run(&folder, port).await {
                return Self {
                    port,
                    http2_port,
                    tls_port,
                    folder,
                    child: Some(child),
                    marks: AtomicUsize::new(0),
                };
            }
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it speaks HTTP/2 without TLS, and ends each connection after 20 requests.
    pub fn http2_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http2_port)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        self.folder.write(&format!("files/{name}"), content);
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.file(&format!("files/{name}"))
    }

    /// A file beside those that are served.
    pub fn other(&self, name: &str) -> String {
        self.folder.file(name)
    }

    /// The access log, a line for each request: `GET /a HTTP/1.1 200`.
    ///
    /// A line may be written after its client has the answer. So this asks for a path of its own
    /// and waits for that line: a single worker writes them one after the other.
    pub async fn log(&self) -> Vec<String> {
        let number = self.marks.fetch_add(1, Ordering::Relaxed);
        let mark = format!("GET {MARK}{number} ");
        exchange(self.port, format!("{mark}HTTP/1.0\r\n\r\n")).await;
        let start = Instant::now();
        loop {
            let log = fs::read_to_string(self.folder.file("access.log")).expect("a log");
            if log.contains(&mark) {
                let lines = log.lines().filter(|line| !line.contains(MARK));
                return lines.map(str::to_owned).collect();
            }
            assert!(start.elapsed() < PATIENCE, "nginx does not log");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.expect("it is killed");
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        let start = Instant::now();
        // Another connection may have the port for a moment.
        while self.child.is_none() {
            assert!(start.elapsed() < PATIENCE, "nginx does not start again");
            self.child = run(&self.folder, self.port).await;
        }
    }
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

/// `None` where it ended, as it does when another process took the port.
async fn run(folder: &Folder, port: u16) -> Option<Child> {
    let mut child = Command::new("nginx")
        .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        .args([
            "-c",
            &folder.file("nginx.conf"),
            "-e",
            &folder.file("error.log"),
        ])
        .args(["-p", &folder.file("")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("these tests need nginx: apt-get install nginx-light");
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if child.try_wait().expect("its status").is_some() {
            return None;
        }
        sleep(Duration::from_millis(5)).await;
    }
    Some(child)
}

fn configuration(folder: &Folder, ports: [u16; 3], with_tls: bool) -> String {
    let [port, http2_port, tls_port] = ports;
    let at = |name: &str| folder.file(name);
    let tls = match with_tls {
        true => format!(
            "server {{
                 listen 127.0.0.1:{tls_port} ssl http2;
                 ssl_certificate {}; ssl_certificate_key {};
                 root {}; include {};
             }}",
            at("certificate.pem"),
            at("key.pem"),
            at("files"),
            at("locations"),
        ),
        false => String::new(),
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};\n", at(name)))
        .concat();
    format!(
        "daemon off; master_process off; pid {pid};
         events {{ worker_connections 512; }}
         http {{
             log_format lines '$request $status';
             access_log {log} lines;
             {temporary}
             gzip on; gzip_proxied any; gzip_vary on; gzip_types text/plain; gzip_min_length 10;
             default_type application/octet-stream;
             types {{ text/plain txt; }}
             server {{
                 listen 127.0.0.1:{port};
                 root {files};
                 location / {{ add_header Cache-Control no-cache; }}
                 location /saw/ {{
                     add_header X-Saw '$request';
                     add_header Cache-Control no-store;
                     return 200 saw;
                 }}
                 location /minute/ {{ alias {files}/; expires 60s; }}
                 location /second/ {{ alias {files}/; expires 1s; }}
                 include {locations};
             }}
             server {{
                 listen 127.0.0.1:{http2_port} http2;
                 keepalive_requests 20;
                 root {files};
                 include {locations};
             }}
             {tls}
         }}
        ",
        pid = at("nginx.pid"),
        log = at("access.log"),
        files = at("files"),
        locations = at("locations"),
    )
}
