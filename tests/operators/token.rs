//! A token that has leaked is replaced while the proxy runs.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStderr;
use tokio::time::timeout;

use crate::example::{Example, PATIENCE, example};
use crate::http_client::send;
use crate::programs::{TOKEN, TokenFile};

const ANOTHER: &str = "another-0123456789abcdef";

struct Running {
    proxy: Example,
    log: Lines<BufReader<ChildStderr>>,
}

impl Running {
    async fn start(flags: &[&str]) -> Self {
        let all = ["--upstream", "http://127.0.0.1:1", "--admin", "127.0.0.1:0"];
        let mut command = example("proxy", &[&all, flags].concat());
        let command = command.env("RUST_LOG", "info").stderr(Stdio::piped());
        let mut proxy = Example::run(command).await;
        let log = BufReader::new(proxy.stderr()).lines();
        Self { proxy, log }
    }

    /// Sends SIGHUP, and waits until the log says so.
    async fn hang_up(&mut self, message: &str) {
        self.proxy.signal("HUP").await;
        let logged = async {
            loop {
                let line = self.log.next_line().await.expect("a pipe");
                let line = line.expect("it goes on");
                assert!(!line.contains(TOKEN) && !line.contains(ANOTHER), "{line}");
                if line.contains(message) {
                    return;
                }
            }
        };
        let logged = timeout(PATIENCE, logged).await;
        logged.unwrap_or_else(|_| panic!("{message} is not logged"));
    }

    /// The status of an invalidation with a token.
    async fn invalidate(&self, token: &str) -> u16 {
        let authorization = format!("Bearer {token}");
        let lines = [
            ("authorization", &*authorization),
            ("content-type", "application/json"),
        ];
        let wanted = r#"{"type":"all"}"#;
        let admin = self.proxy.admin();
        send(admin, "POST", "/invalidate", &lines, wanted)
            .await
            .status
    }
}

#[tokio::test]
async fn a_hang_up_replaces_the_token_of_operators() {
    let token = TokenFile::new(TOKEN);
    let mut running = Running::start(&["--admin-token-file", token.path()]).await;
    assert_eq!(running.invalidate(TOKEN).await, 200);
    assert_eq!(running.invalidate(ANOTHER).await, 401);
    std::fs::write(token.path(), ANOTHER).expect("a file");
    running.hang_up("token for operators replaced").await;
    assert_eq!(running.invalidate(TOKEN).await, 401);
    assert_eq!(running.invalidate(ANOTHER).await, 200);
    // One that is none is said to be, and the other one stays.
    let kept = "token for operators not read; the old one is kept";
    for none in ["", "short"] {
        std::fs::write(token.path(), none).expect("a file");
        running.hang_up(kept).await;
        assert_eq!(running.invalidate(ANOTHER).await, 200, "{none:?}");
        assert_eq!(running.invalidate(none).await, 401, "{none:?}");
    }
    std::fs::remove_file(token.path()).expect("a file");
    running.hang_up(kept).await;
    assert_eq!(running.invalidate(ANOTHER).await, 200);
}

/// Whether the other options are valid does not matter, and new ones do not bring the old token back.
#[tokio::test]
async fn a_new_token_stays_when_other_options_change() {
    let (token, config) = (TokenFile::new(TOKEN), TokenFile::new("ttl = \"60s\""));
    let flags = [
        "--admin-token-file",
        token.path(),
        "--config",
        config.path(),
    ];
    let mut running = Running::start(&flags).await;
    std::fs::write(config.path(), "ttl = \"forever\"").expect("a file");
    std::fs::write(token.path(), ANOTHER).expect("a file");
    running.hang_up("token for operators replaced").await;
    assert_eq!(running.invalidate(TOKEN).await, 401);
    std::fs::write(config.path(), "ttl = \"50s\"").expect("a file");
    running.hang_up("is_changed=true").await;
    assert_eq!(running.invalidate(TOKEN).await, 401);
    assert_eq!(running.invalidate(ANOTHER).await, 200);
}
