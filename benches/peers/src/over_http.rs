//! Hits over HTTP/1.1: oha with 64 connections, requests per second and CPU time of the server per
//! request.
//!
//! Every contestant in Rust is served by the same hyper server with two threads. The proxies (ours,
//! nginx and Varnish) stand in front of one origin, which they ask once. Rounds are interleaved.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower::{Service, ServiceBuilder};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::proxy::{ErrorResponderLayer, ReverseProxy};

use crate::Effort;
use crate::contestants::{BoxError, CONTESTANTS, Visit, visit};
use crate::inner::Inner;
use crate::processes::Server;
use crate::workload::uri;

const CONNECTIONS: &str = "64";
const LENGTH: usize = 150;
const ORIGIN: &str = "origin";
const PROXY: &str = "proxy:";
const TUNED_NGINX: &str = "proxy: nginx, open files cached";
/// The ports of nginx, of nginx with open files cached, and of Varnish.
const PORTS: [u16; 3] = [18_501, 18_502, 18_503];

/// Measures all contestants, and prints a table.
pub fn report(effort: Effort) {
    println!("## Hits over HTTP/1.1\n");
    if !is_there("oha", "--version") {
        println!("skipped: it needs oha (`cargo install oha --locked`)\n");
        return;
    }
    println!("{CONNECTIONS} connections, {LENGTH} B; the load has the same cores as the server.\n");
    let folder = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for nginx and Varnish");
    let mut servers = start_all(&folder);
    for server in &servers {
        await_response(server.port);
    }
    for _ in 0..effort.http_rounds {
        for server in &mut servers {
            server.measure(effort.http_seconds);
        }
    }
    print_table(&servers);
    drop(servers);
    let _ = fs::remove_dir_all(&folder);
}

struct Measured {
    name: String,
    port: u16,
    process: Server,
    /// Requests per second and microseconds of CPU time per request, of each round.
    rounds: Vec<[f64; 2]>,
}

impl Measured {
    fn new(name: &str, port: u16, process: Server) -> Self {
        Self {
            name: name.to_owned(),
            port,
            process,
            rounds: Vec::new(),
        }
    }

    fn measure(&mut self, seconds: usize) {
        let before = self.process.cpu_seconds();
        let output = Command::new("oha")
            .args(["-c", CONNECTIONS, "--no-tui", "--output-format", "json"])
            .args(["-z", &format!("{seconds}s")])
            .arg(format!("http://127.0.0.1:{}{}", self.port, uri(0)))
            .output()
            .expect("oha has been asked for its version");
        let cpu = self.process.cpu_seconds() - before;
        let text = String::from_utf8(output.stdout).expect("text");
        let rate = number_after(&text, "\"requestsPerSec\":");
        let total = number_after(&text, "\"total\":");
        let succeeded = number_after(&text, "\"successRate\":");
        assert!(
            succeeded > 0.999,
            "{}: some requests failed:\n{text}",
            self.name
        );
        assert!(!text.contains("\"404\""), "{}: {text}", self.name);
        self.rounds.push([rate, cpu / (rate * total) * 1e6]);
    }
}

impl Measured {
    /// The median of the ratios to another one within each round, of requests or of CPU time.
    fn ratio(&self, value: usize, other: &Self) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(rounds.map(|(own, other)| own[value] / other[value]))
    }
}

/// The first number after a key.
fn number_after(json: &str, key: &str) -> f64 {
    let (_, rest) = json
        .split_once(key)
        .unwrap_or_else(|| panic!("no {key} in {json}"));
    let number: String = rest
        .trim_start()
        .chars()
        .take_while(|c| !",}\n ".contains(*c))
        .collect();
    number.parse().unwrap_or_else(|_| panic!("{key}{number}"))
}

fn print_table(servers: &[Measured]) {
    println!(
        "| | requests/s | x floor | CPU per request, us | x floor | x nginx, open files cached |"
    );
    println!("|---|---|---|---|---|---|");
    let rounds_of = |name: &str| servers.iter().find(|server| server.name == name);
    let floor = &servers[0];
    for server in servers {
        let nginx = rounds_of(TUNED_NGINX).map(|nginx| format!("{:.2}", server.ratio(1, nginx)));
        println!(
            "| {} | {:.0} | {:.2} | {:.1} | {:.2} | {} |",
            server.name,
            median(server.rounds.iter().map(|round| round[0])),
            server.ratio(0, floor),
            median(server.rounds.iter().map(|round| round[1])),
            server.ratio(1, floor),
            nginx.unwrap_or_default()
        );
    }
    println!();
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn start_all(folder: &Path) -> Vec<Measured> {
    let mut servers = Vec::new();
    for contestant in &CONTESTANTS {
        let (process, port) = Server::start_self(&["serve", contestant.name]);
        servers.push(Measured::new(contestant.name, port, process));
    }
    let (process, origin) = Server::start_self(&["serve", ORIGIN]);
    servers.push(Measured::new(
        "the service alone, no cache",
        origin,
        process,
    ));
    let (process, port) = Server::start_self(&["serve", &format!("{PROXY}{origin}")]);
    servers.push(Measured::new("proxy: tower-response-cache", port, process));
    if let Some(nginx) = found(&["nginx", "/usr/sbin/nginx"], "-v") {
        for (name, port, more) in [
            ("proxy: nginx", PORTS[0], ""),
            (TUNED_NGINX, PORTS[1], "open_file_cache max=1000;"),
        ] {
            let file = nginx_file(folder, port, origin, more);
            let process = Server::start(Command::new(&nginx).arg("-c").arg(file));
            servers.push(Measured::new(name, port, process));
        }
    } else {
        println!("without nginx, which is not installed\n");
    }
    if let Some(varnish) = found(&["varnishd", "/usr/sbin/varnishd"], "-V") {
        let mut command = Command::new(varnish);
        command.args(["-F", "-T", "none", "-s", "malloc,64m", "-n"]);
        command
            .arg(folder.join("varnish"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.arg("-a").arg(format!("127.0.0.1:{}", PORTS[2]));
        command.arg("-b").arg(format!("127.0.0.1:{origin}"));
        let process = Server::start(&mut command);
        servers.push(Measured::new("proxy: Varnish", PORTS[2], process));
    } else {
        println!("without Varnish, which is not installed\n");
    }
    servers
}

/// Writes the configuration of an nginx that caches.
fn nginx_file(folder: &Path, port: u16, origin: u16, more: &str) -> PathBuf {
    let path = |name: &str| folder.join(format!("{port}.{name}")).display().to_string();
    let mut places = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        places += &format!("{kind}_temp_path {};\n", path(kind));
    }
    let text = format!(
        "daemon off; worker_processes auto; user root; pid {}; error_log {};
         events {{ worker_connections 4096; }}
         http {{
           access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; {more}
           {places}
           proxy_cache_path {} keys_zone=stored:10m;
           server {{
             listen 127.0.0.1:{port};
             location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_cache stored; }}
           }}
         }}",
        path("pid"),
        path("log"),
        path("stored"),
    );
    let file = folder.join(format!("{port}.conf"));
    fs::write(&file, text).expect("the folder was created");
    file
}

/// Waits until a server answers with 200.
fn await_response(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = Command::new("curl")
            .args(["-sf", "-o", "/dev/null"])
            .arg(format!("http://127.0.0.1:{port}{}", uri(0)))
            .status();
        if status.expect("curl").success() {
            return;
        }
        assert!(Instant::now() < deadline, "no response from port {port}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_there(program: &str, argument: &str) -> bool {
    let status = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok()
}

fn found(programs: &[&str], argument: &str) -> Option<String> {
    let program = programs.iter().find(|program| is_there(program, argument));
    program.map(|program| (*program).to_owned())
}

/// Serves a contestant on a port that is free, and prints the port.
pub fn serve(name: &str) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("it is bound").port());
        let accepting = Accepting { listener };
        if name == ORIGIN {
            let inner = Inner::<Full<Bytes>>::new(LENGTH);
            accepting.accept(inner).await;
        } else if let Some(origin) = name.strip_prefix(PROXY) {
            let upstream = ReverseProxy::new(&format!("http://127.0.0.1:{origin}"));
            let upstream = upstream.expect("a URL");
            let service = ServiceBuilder::new()
                .layer(ErrorResponderLayer::new())
                .layer(upstream.request_layer())
                .layer(CacheLayer::new(MemoryBackend::default()))
                .service(upstream);
            accepting.accept(service).await;
        } else {
            let accepting = visit(name, LENGTH, accepting).await;
            accepting.await;
        }
    });
}

struct Accepting {
    listener: TcpListener,
}

impl Visit for Accepting {
    type Output = std::pin::Pin<Box<dyn Future<Output = ()>>>;

    fn visit<S, B>(self, service: S, _: Arc<AtomicUsize>) -> Self::Output
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Debug + Into<BoxError>>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Box::pin(self.accept(service))
    }
}

impl Accepting {
    async fn accept<S, B>(self, service: S)
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Debug + Into<BoxError>>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        loop {
            let (stream, _) = self.listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let service = tower::util::MapRequest::new(service.clone(), with_boxed_body);
            let service = TowerToHyperService::new(service);
            tokio::spawn(async move {
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // Of no interest: the load ends its connections.
                let _ = served.await;
            });
        }
    }
}

/// One of the caches accepts no other type of body.
fn with_boxed_body(request: Request<hyper::body::Incoming>) -> Request<Body> {
    request.map(Body::new)
}
