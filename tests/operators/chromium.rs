//! A headless Chromium, driven by its DevTools protocol over a pipe.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// Only a browser that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page, killed when dropped.
pub struct Chromium {
    _child: Child,
    folder: PathBuf,
    commands: ChildStdin,
    messages: BufReader<ChildStdout>,
    last_id: u64,
    session: Option<String>,
    /// The hosts that the page has asked.
    pub hosts: Vec<String>,
    /// What was written to the console as an error or a warning, and uncaught exceptions.
    pub complaints: Vec<String>,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Chromium {
    /// Starts a browser with an empty page.
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("chromium-{}", uuid::Uuid::new_v4()));
        // It reads commands from file 3 and writes to file 4. `exec`: the child is the browser.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "chromium",
            ])
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-sync",
            ])
            .args([
                "--disable-component-update",
                "--disable-default-apps",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", folder.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let commands = child.stdin.take().expect("a pipe");
        let messages = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut browser = Self {
            _child: child,
            folder,
            commands,
            messages,
            last_id: 0,
            session: None,
            hosts: Vec::new(),
            complaints: Vec::new(),
        };
        let target = browser
            .command("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.command("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser
                .command(&format!("{domain}.enable"), json!({}))
                .await;
        }
        browser
    }

    /// Sends a command, and returns its result. What happens meanwhile is noted.
    pub async fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let text = command.to_string() + "\0";
        let sent = self.commands.write_all(text.as_bytes()).await;
        sent.unwrap_or_else(|error| no_browser(&error));
        loop {
            let message = self.message().await;
            if message["id"] != json!(self.last_id) {
                self.note(&message);
                continue;
            }
            assert!(message["error"].is_null(), "{method}: {}", message["error"]);
            return message["result"].clone();
        }
    }

    async fn message(&mut self) -> Value {
        let mut text = Vec::new();
        let read = timeout(PATIENCE, self.messages.read_until(0, &mut text)).await;
        let length = read.expect("an answer in time").expect("a readable pipe");
        if length == 0 {
            no_browser(&io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        text.pop();
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Notes an event.
    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                let host = url
                    .split("://")
                    .nth(1)
                    .and_then(|rest| rest.split('/').next());
                self.hosts.extend(host.map(str::to_owned));
            }
            "Runtime.consoleAPICalled" => {
                let kind = parameters["type"].as_str().unwrap_or_default();
                if matches!(kind, "error" | "warning" | "assert") {
                    self.complaints.push(parameters["args"].to_string());
                }
            }
            "Runtime.exceptionThrown" => {
                self.complaints
                    .push(parameters["exceptionDetails"].to_string());
            }
            "Log.entryAdded" => {
                let level = parameters["entry"]["level"].as_str().unwrap_or_default();
                if matches!(level, "error" | "warning") {
                    self.complaints.push(parameters["entry"].to_string());
                }
            }
            _ => {}
        }
    }

    /// Opens a page.
    pub async fn open(&mut self, url: &str) {
        self.command("Page.navigate", json!({"url": url})).await;
        self.until("document.readyState === 'complete'").await;
    }

    /// The value of an expression of JavaScript, once its promise is fulfilled.
    pub async fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.command("Runtime.evaluate", parameters).await;
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// The text of the element with this id.
    pub async fn text(&mut self, id: &str) -> String {
        let value = self
            .value(&format!("document.getElementById('{id}').textContent"))
            .await;
        value.as_str().expect("text").to_owned()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.value(expression).await != json!(true) {
            assert!(Instant::now() < end, "never true: {expression}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Types into a field as a person does: focus, then keys.
    pub async fn type_into(&mut self, id: &str, text: &str) {
        self.value(&format!(
            "document.getElementById('{id}').focus(), document.execCommand('selectAll')"
        ))
        .await;
        self.command("Input.insertText", json!({"text": text}))
            .await;
    }

    /// Presses a key.
    pub async fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            _ => 32,
        };
        for kind in ["keyDown", "keyUp"] {
            let text = match key {
                "Enter" => "\r",
                "Tab" => "",
                other => other,
            };
            let event = json!({"type": kind, "key": key, "code": key, "text": text,
                               "windowsVirtualKeyCode": code});
            self.command("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Sets the width of the window, and light or dark colours.
    pub async fn look(&mut self, width: u32, height: u32, is_dark: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1,
                             "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    /// A picture of the whole page, as PNG.
    pub async fn picture(&mut self) -> Vec<u8> {
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.command("Page.captureScreenshot", parameters).await;
        let text = picture["data"].as_str().expect("base64");
        BASE64_STANDARD.decode(text).expect("base64")
    }
}

fn no_browser(error: &io::Error) -> ! {
    panic!("these tests need chromium: apt-get install chromium ({error})")
}
