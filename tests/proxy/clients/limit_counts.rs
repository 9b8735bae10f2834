//! P8: what the limits of connections and WebSockets do to clients is told to operators.

use std::future::Future;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{sleep, timeout};

use crate::example::{Example, PATIENCE, example, program};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

const HANDSHAKE: &str =
    "GET /chat HTTP/1.1\r\nhost: test.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

/// The value of the series of the metrics that begins so.
pub(super) async fn series(proxy: &Example, begin: &str) -> u64 {
    let (_, port) = proxy.admin().rsplit_once(':').expect("a port");
    let said = exchange(
        port.parse().expect("a port"),
        last_get("/metrics").replace("test.example", "127.0.0.1"),
    )
    .await;
    let begin = format!("response_cache_{begin}");
    let line = said.lines().find(|line| line.starts_with(&begin));
    let (_, value) = line
        .unwrap_or_else(|| panic!("{begin}: {said}"))
        .rsplit_once(' ')
        .expect("a value");
    value.parse().expect("a count")
}

/// How often a limit was reached, as the metrics say.
pub(super) async fn reached(proxy: &Example, limit: &str) -> u64 {
    let labels = format!("{{cache=\"tower-response-cache\",limit=\"{limit}\"}}");
    series(proxy, &format!("limits_reached_total{labels}")).await
}

/// How many connections wait, as the metrics say.
async fn waiting(proxy: &Example) -> u64 {
    series(proxy, "connections_waiting{").await
}

/// Waits until it is so.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let wait = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("it never happens: {what}"));
}

pub(super) async fn start(
    origin: &Origin,
    flags: &[&str],
) -> (Example, tokio::process::ChildStderr) {
    let url = origin.url();
    let all = ["--upstream", &url, "--admin", "127.0.0.1:0"];
    let mut command = example("proxy", &[&all, flags].concat());
    let mut proxy = Example::run(command.env("RUST_LOG", "warn").stderr(Stdio::piped())).await;
    let stderr = proxy.stderr();
    (proxy, stderr)
}

/// Waits until the log has a warning with this text.
pub(super) async fn warned(stderr: tokio::process::ChildStderr, text: &str) {
    let mut lines = BufReader::new(stderr).lines();
    let logged = async {
        loop {
            let line = lines.next_line().await.expect("a pipe").expect("a line");
            if line.contains("WARN") && line.contains(text) {
                return;
            }
        }
    };
    timeout(PATIENCE, logged).await.expect("it is logged");
}

async fn connect(proxy: &Example) -> Raw {
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.hear_until("hello").await;
    raw
}

#[tokio::test]
async fn connections_of_a_client_with_too_many_are_counted_and_logged() {
    let origin = Origin::saying(fresh("hello")).await;
    let (proxy, log) = start(&origin, &["--max-connections-per-client", "2"]).await;
    let _held = (connect(&proxy).await, connect(&proxy).await);
    assert_eq!(reached(&proxy, "connections_per_client").await, 0);
    for _ in 0..5 {
        assert_eq!(Raw::connect(proxy.port()).await.hear_all().await, "");
    }
    assert_eq!(reached(&proxy, "connections_per_client").await, 5);
    assert_eq!(reached(&proxy, "connections").await, 0);
    warned(log, "connection closed: its client has too many").await;
}

/// A client with too many is told so at once, and is none of those that wait.
#[tokio::test]
async fn a_client_with_too_many_connections_keeps_no_others_waiting() {
    let origin = Origin::saying(fresh("hello")).await;
    let flags = [
        "--max-connections",
        "2",
        "--max-connections-per-client",
        "2",
    ];
    let (proxy, _log) = start(&origin, &flags).await;
    let _held = (connect(&proxy).await, connect(&proxy).await);
    assert_eq!(Raw::connect(proxy.port()).await.hear_all().await, "");
    assert_eq!(reached(&proxy, "connections_per_client").await, 1);
    assert_eq!(reached(&proxy, "connections").await, 0);
    assert_eq!(waiting(&proxy).await, 0);
}

/// Not the attempts of the server, and not for as long as it lasts: that, a gauge says.
#[tokio::test]
async fn each_connection_that_waits_for_room_is_counted_once_and_logged() {
    let origin = Origin::start(|heard| match heard.head.contains("/hangs") {
        true => vec![Step::Hang],
        false => vec![Step::Say(fresh("hello").into_bytes())],
    })
    .await;
    let flags = [
        "--max-connections",
        "2",
        "--max-connections-per-client",
        "0",
    ];
    let (proxy, log) = start(&origin, &flags).await;
    // They have requests under way: none of them is closed for another one.
    let hangs = async |number: usize| {
        let mut raw = Raw::connect(proxy.port()).await;
        let line = format!("GET /hangs/{number} ");
        raw.say(format!("{line}HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        origin.until_heard(&line).await;
        raw
    };
    let (first, second) = (hangs(1).await, hangs(2).await);
    assert_eq!(reached(&proxy, "connections").await, 0);
    assert_eq!(waiting(&proxy).await, 0, "all are open, and none waits");
    let (mut third, mut fourth) = (
        Raw::connect(proxy.port()).await,
        Raw::connect(proxy.port()).await,
    );
    third.say("GET /hangs/3 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    fourth.say("GET /hangs/4 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    warned(log, "no more connections are accepted").await;
    until("the third waits", async || waiting(&proxy).await == 1).await;
    assert_eq!(reached(&proxy, "connections").await, 1);
    drop(second);
    origin.until_heard("GET /hangs/3 ").await;
    // It was behind the third one in the system's queue.
    until("the fourth waits", async || {
        reached(&proxy, "connections").await == 2 && waiting(&proxy).await == 1
    })
    .await;
    drop(first);
    origin.until_heard("GET /hangs/4 ").await;
    until("none waits", async || waiting(&proxy).await == 0).await;
    assert_eq!(reached(&proxy, "connections").await, 2);
    drop((third, fourth));
    // Those that find room do not count, nor those that are given that of one without a request;
    // the latter once the server knows that the others are gone.
    let _idle = connect(&proxy).await;
    until("one finds room", async || {
        let before = reached(&proxy, "connections").await;
        drop(connect(&proxy).await);
        reached(&proxy, "connections").await == before
    })
    .await;
}

/// Connections that the system has no file for wait, too.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_beyond_the_limit_of_open_files_are_counted_and_logged() {
    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let (program, url) = (program("proxy").display().to_string(), origin.url());
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\"", &program])
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--upstream", &url, "--max-connections-per-client", "0"])
        .env("RUST_LOG", "warn")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut proxy = Example::run(&mut command).await;
    let log = tokio::spawn(warned(proxy.stderr(), "reason=Too many open files"));
    assert_eq!(reached(&proxy, "connections").await, 0);
    // Each request has a connection to the origin, too.
    let mut held = Vec::new();
    for number in 1..=20 {
        let mut raw = Raw::connect(proxy.port()).await;
        let request = format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n");
        raw.say(request).await;
        held.push(raw);
        let heard = async || log.is_finished() || origin.heard().len() == number;
        let heard = until("it is there", heard);
        let _ = timeout(Duration::from_millis(200), heard).await;
        if log.is_finished() {
            break;
        }
    }
    log.await.expect("no panic");
    drop(held);
    until("none waits", async || waiting(&proxy).await == 0).await;
    assert!(reached(&proxy, "connections").await >= 1);
}

/// The numbers of the files that a process has open.
#[cfg(target_os = "linux")]
fn open_files(proxy: &Example) -> Vec<usize> {
    let folder = format!("/proc/{}/fd", proxy.id());
    let files = std::fs::read_dir(folder).expect("its files");
    let names = files.map(|file| file.expect("a file").file_name());
    let numbers = names.map(|name| name.to_str().expect("digits").parse());
    numbers.map(|number| number.expect("a number")).collect()
}

/// Lets a process open only so many more files.
#[cfg(target_os = "linux")]
async fn limit_files(proxy: &Example, more: usize) {
    let open = open_files(proxy);
    let mut free = (0..).filter(|number| !open.contains(number));
    let limit = free.nth(more).expect("a number");
    let limited = tokio::process::Command::new("prlimit")
        .args(["--pid", &proxy.id().to_string()])
        .arg(format!("--nofile={limit}:"))
        .status();
    assert!(limited.await.expect("prlimit").success());
}

/// That no file is left delays nobody, as long as no other client comes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_with_the_last_file_keeps_no_connection_waiting() {
    let origin = Origin::saying(fresh("hello")).await;
    let (proxy, _log) = start(&origin, &["--upstream-max-age", "10ms"]).await;
    let mut operator = Operator::connect(&proxy).await;
    let before = open_files(&proxy).len();
    let _first = connect(&proxy).await;
    // It was the only one with a connection to the origin, which is closed.
    let alone = async {
        while open_files(&proxy).len() != before + 1 {
            operator.read().await;
        }
    };
    timeout(PATIENCE, alone).await.expect("it is closed");
    limit_files(&proxy, 1).await;
    let last = connect(&proxy).await;
    for _ in 0..30 {
        assert_eq!(operator.read().await, (0, 0), "reached, and waiting");
    }
    let mut another = Raw::connect(proxy.port()).await;
    another.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    operator.until((1, 1)).await;
    drop(last);
    another.hear_until("hello").await;
    operator.until((1, 0)).await;
}

/// It is one connection, whatever it waits for.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_waits_for_a_file_and_then_for_others_counts_once() {
    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let flags = [
        "--max-connections",
        "1",
        "--max-connections-per-client",
        "0",
    ];
    let (proxy, _log) = start(&origin, &flags).await;
    let mut operator = Operator::connect(&proxy).await;
    let mut first = Raw::connect(proxy.port()).await;
    first.say("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    origin.until_heard("GET /1 ").await;
    limit_files(&proxy, 0).await;
    let before = open_files(&proxy).len();
    let mut second = Raw::connect(proxy.port()).await;
    second.say("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    operator.until((1, 1)).await;
    limit_files(&proxy, 100).await;
    let accepted = async {
        while open_files(&proxy).len() == before {
            assert_eq!(operator.read().await, (1, 1), "it goes on waiting");
        }
    };
    timeout(PATIENCE, accepted).await.expect("it is accepted");
    for _ in 0..10 {
        assert_eq!(operator.read().await, (1, 1), "for the first to end");
    }
}

/// A connection of operators that was there before: no file is left for another one.
#[cfg(target_os = "linux")]
struct Operator(Raw);

#[cfg(target_os = "linux")]
impl Operator {
    async fn connect(proxy: &Example) -> Self {
        let (_, port) = proxy.admin().rsplit_once(':').expect("a port");
        let mut operator = Self(Raw::connect(port.parse().expect("a port")).await);
        assert_eq!(operator.read().await, (0, 0));
        operator
    }

    /// How often connections had to wait, and how many wait.
    async fn read(&mut self) -> (u64, u64) {
        let request = "GET /stats HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        self.0.say(request).await;
        let stats = self.0.hear_until("\"limits\":{").await + &self.0.hear_until("}").await;
        let value = |name: &str| {
            let (_, rest) = stats.rsplit_once(&format!("\"{name}\":")).expect("a count");
            let digits = rest.split([',', '}']).next().unwrap_or_default();
            digits.parse().expect("a number")
        };
        (value("connections"), value("connections_waiting"))
    }

    async fn until(&mut self, expected: (u64, u64)) {
        let read = async { while self.read().await != expected {} };
        let read = timeout(PATIENCE, read).await;
        read.unwrap_or_else(|_| panic!("never {expected:?}"));
    }
}

#[tokio::test]
async fn websockets_beyond_the_limit_are_counted_and_logged() {
    let origin = Origin::start(|heard| match heard.field("upgrade").is_empty() {
        true => vec![Step::Say(ok("", "no").into_bytes())],
        false => vec![
            Step::Say(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
                    .to_vec(),
            ),
            Step::Echo,
        ],
    })
    .await;
    let (proxy, log) = start(&origin, &["--max-tunnels", "2"]).await;
    let mut held = Vec::new();
    for number in 0..5 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(HANDSHAKE).await;
        let head = raw.hear_until("\r\n\r\n").await;
        assert_eq!(head.starts_with("HTTP/1.1 101 "), number < 2, "{head}");
        held.push(raw);
    }
    assert_eq!(reached(&proxy, "tunnels").await, 3);
    assert_eq!(reached(&proxy, "tunnels_per_client").await, 0);
    // A client that has none gets one of those of the other.
    let mut other = Raw::connect_from("127.0.0.2", proxy.port()).await;
    other.say(HANDSHAKE).await;
    assert!(
        other
            .hear_until("\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 101 ")
    );
    assert_eq!(reached(&proxy, "tunnels_per_client").await, 1);
    warned(log, "websocket refused: too many are open").await;
}
