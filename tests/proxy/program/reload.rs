//! Options that are read again while the program runs.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStderr;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::example::{Example, PATIENCE, example};
use crate::folder::Folder;
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

/// A proxy with a configuration file.
struct Configured {
    folder: Folder,
    upstream: String,
    proxy: Example,
    log: Lines<BufReader<ChildStderr>>,
}

impl Configured {
    async fn start(name: &str, origin: &Origin, text: &str) -> Self {
        let folder = Folder::new(name);
        let upstream = format!("upstream = \"{}\"\n", origin.url());
        folder.write("proxy.toml", format!("{upstream}{text}"));
        let mut command = example("proxy", &["--config", &folder.file("proxy.toml")]);
        let command = command.env("RUST_LOG", "info").stderr(Stdio::piped());
        let mut proxy = Example::run(command).await;
        let log = BufReader::new(proxy.stderr()).lines();
        Self {
            folder,
            upstream,
            proxy,
            log,
        }
    }

    /// Changes the file, and waits until the log says so.
    async fn reload(&mut self, text: &str, message: &str) -> String {
        let text = format!("{}{text}", self.upstream);
        self.folder.write("proxy.toml", text);
        self.proxy.signal("HUP").await;
        self.wait_for(message).await
    }

    /// Waits until the log says so.
    async fn wait_for(&mut self, message: &str) -> String {
        let logged = async {
            loop {
                let line = self.log.next_line().await.expect("a pipe");
                let line = line.expect("a line");
                if line.contains(message) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, logged).await.expect("it is logged")
    }

    async fn get(&self, path: &str) -> String {
        exchange(self.proxy.port(), last_get(path)).await
    }
}

#[tokio::test]
async fn a_hang_up_changes_options_and_keeps_what_is_stored() {
    let origin = Origin::start(|heard| match heard.head.contains("/fresh") {
        true => vec![Step::Say(fresh("hello").into_bytes())],
        false => vec![Step::Say(ok("", "hello").into_bytes())],
    })
    .await;
    let mut configured = Configured::start("reload", &origin, "").await;
    configured.get("/fresh").await;
    let mut kept = Raw::connect(configured.proxy.port()).await;
    let request = "GET /fresh HTTP/1.1\r\nhost: test.example\r\n\r\n";
    kept.say(request).await;
    kept.hear_until("hello").await;
    for (text, is_hit) in [("ttl = \"60s\"\n", true), ("", false)] {
        configured.reload(text, "options read again").await;
        let path = format!("/{is_hit}");
        configured.get(&path).await;
        assert_eq!(configured.get(&path).await.contains("; hit"), is_hit);
        assert!(configured.get("/fresh").await.contains("; hit"));
    }
    // An old connection is closed at once, not when it was idle for long.
    let rest = timeout(Duration::from_secs(10), kept.hear_all()).await;
    assert_eq!(rest.expect("it is closed"), "");
    configured.proxy.signal("TERM").await;
    assert_eq!(configured.proxy.exit().await.code(), Some(0));
}

/// A write that was under way is finished, with the old options, and invalidates.
#[tokio::test]
async fn a_hang_up_ends_no_request() {
    let origin = Origin::start(|heard| match heard.head.starts_with("PUT") {
        true => vec![
            Step::Content,
            Step::Pause(Duration::from_millis(300)),
            Step::Say(ok("", "written").into_bytes()),
        ],
        false => vec![Step::Say(fresh("hello").into_bytes())],
    })
    .await;
    let mut configured =
        Configured::start("reload-requests", &origin, "max-buffered-upload = \"0B\"\n").await;
    configured.get("/a").await;
    let mut upload = Raw::connect(configured.proxy.port()).await;
    upload
        .say("PUT /a HTTP/1.1\r\nhost: test.example\r\ncontent-length: 6\r\n\r\nabc")
        .await;
    origin.until_heard("PUT /a ").await;
    let text = "head-timeout = \"1ms\"\n";
    configured.reload(text, "options read again").await;
    assert!(configured.get("/a").await.contains("; hit"));
    upload.say("def").await;
    upload.hear_until("written").await;
    assert!(!configured.get("/a").await.contains("; hit"));
}

/// The first request of a new connection may be on its way: it is answered, and is the last one.
#[tokio::test]
async fn a_hang_up_leaves_new_connections_their_first_request() {
    let origin = Origin::saying(fresh("hello")).await;
    let mut configured = Configured::start("reload-new", &origin, "").await;
    let request = "GET /a HTTP/1.1\r\nhost: test.example\r\n\r\n";
    for (number, sent) in [0, 1, 10, 30].into_iter().enumerate() {
        let (first, rest) = request.split_at(sent);
        let mut raw = Raw::connect(configured.proxy.port()).await;
        raw.say(first).await;
        // This one is accepted after the other.
        configured.get("/a").await;
        let text = format!("ttl = \"{}s\"\n", number + 1);
        configured.reload(&text, "options read again").await;
        raw.say(rest).await;
        raw.hear_until("hello").await;
        let after = timeout(Duration::from_secs(20), raw.hear_all()).await;
        assert_eq!(after.expect("it is closed"), "", "{first:?}");
    }
    // The end of the program waits for none of them.
    let _silent = Raw::connect(configured.proxy.port()).await;
    configured.get("/a").await;
    configured
        .reload("ttl = \"9s\"\n", "options read again")
        .await;
    configured.proxy.signal("TERM").await;
    let exit = timeout(Duration::from_secs(8), configured.proxy.exit()).await;
    assert_eq!(exit.expect("it does not wait").code(), Some(0));
}

/// Nothing is kept of earlier options once their last connection has ended; a write that was under
/// way with them holds them up, however often options are read again meanwhile.
#[tokio::test]
async fn earlier_options_end_with_their_last_connection() {
    let written = Arc::new(Notify::new());
    let origin = {
        let written = written.clone();
        let answer = Step::Say(ok("", "written").into_bytes());
        Origin::start(move |_| vec![Step::Wait(written.clone()), answer.clone()]).await
    };
    let mut configured = Configured::start("reload-ends", &origin, "").await;
    let mut write = Raw::connect(configured.proxy.port()).await;
    let request = "DELETE /a HTTP/1.1\r\nhost: test.example\r\n\r\n";
    write.say(request).await;
    // Else it might be one with later options.
    origin.until_heard("DELETE /a ").await;
    let ended = "the last connection with earlier options has ended";
    // Those of the first time wait for the write, those between have no connection.
    configured
        .reload("ttl = \"1s\"\n", "options read again")
        .await;
    configured.reload("ttl = \"2s\"\n", ended).await;
    configured.reload("ttl = \"3s\"\n", ended).await;
    written.notify_one();
    write.hear_until("written").await;
    configured.wait_for(ended).await;
}

/// What decides about keys, or sockets, stays as it was.
#[tokio::test]
async fn options_that_need_a_restart_are_kept_and_named() {
    let origin = Origin::saying(fresh("hello")).await;
    let mut configured = Configured::start("reload-fixed", &origin, "").await;
    configured.get("/?a=1&b=1").await;
    let text = "ignore-query = [\"b\"]\nmax-connections = 5\nttl = \"60s\"\n";
    let line = configured.reload(text, "need a restart").await;
    let expected = "max-connections, the options of cache keys";
    assert!(line.contains(expected), "{line}");
    assert!(!configured.get("/?a=1&b=2").await.contains("; hit"));
    assert!(configured.get("/?a=1&b=1").await.contains("; hit"));
}

/// Those of the table of the cache, too: the lifetime of a route is new, its keys are not.
#[tokio::test]
async fn options_of_the_cache_are_read_again_and_those_of_keys_are_kept() {
    let origin = Origin::saying(ok("", "hello")).await;
    let route = |options: &str| format!("[[cache.route]]\npath = \"/a\"\n{options}");
    let mut configured = Configured::start("reload-cache", &origin, "").await;
    configured
        .reload(&route("ttl = \"60s\"\n"), "options read again")
        .await;
    assert!(!configured.get("/a?b=1").await.contains("; hit"));
    assert!(configured.get("/a?b=1").await.contains("; hit"));
    let text = route("ttl = \"60s\"\nquery = { ignoring = [\"b\"] }\n");
    let line = configured.reload(&text, "need a restart").await;
    assert!(line.contains("the options of cache keys"), "{line}");
    assert!(!configured.get("/a?b=2").await.contains("; hit"));
    assert!(configured.get("/a?b=1").await.contains("; hit"));
}
