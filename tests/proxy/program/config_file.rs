//! `--config`, `--check` and SIGHUP.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::example::{Example, PATIENCE, example};
use crate::folder::Folder;
use crate::origin::{Origin, fresh, ok};
use crate::raw::{exchange, last_get};

#[tokio::test]
async fn a_file_has_the_flags_and_the_command_line_overrides_it() {
    let (one, two) = (
        Origin::saying(ok("", "one")).await,
        Origin::saying(fresh("two")).await,
    );
    let folder = Folder::new("config");
    let text = format!(
        "# The main one, and another.\nupstream = [\"{}\", \"/two={}\"]\nttl = \"1m\"\n\
         concurrency = 5\nhost = 'upstream'\ntrust-forwarded = false\nstale-despite-s-maxage = true\n\
         ignore-query = [\"utm_source\", \"utm_medium\"]\n",
        one.url(),
        two.url(),
    );
    folder.write("proxy.toml", text);
    let file = folder.file("proxy.toml");
    let proxy = Example::start("proxy", &["--config", &file]).await;
    for (path, content, is_hit) in [
        ("/a?x=1&utm_source=2", "one", false),
        ("/a?utm_medium=3&x=1", "one", true),
        ("/two", "two", false),
    ] {
        let said = exchange(proxy.port(), last_get(path)).await;
        assert!(said.ends_with(content), "{path}: {said}");
        assert_eq!(said.contains("; hit"), is_hit, "{path}: {said}");
    }
    let heard = one.heard_one();
    assert_eq!(heard.field("host"), format!("127.0.0.1:{}", one.port));
    assert_eq!(heard.request_line(), "GET /a?x=1 HTTP/1.1");
    // In either form of a flag.
    for options in [&["--host", "preserve"][..], &["--host=preserve"]] {
        let options = [&["--config", &file], options].concat();
        let proxy = Example::start("proxy", &options).await;
        exchange(proxy.port(), last_get("/a")).await;
        assert_eq!(one.heard_one().field("host"), "test.example");
    }
}

#[tokio::test]
async fn a_file_that_is_not_valid_is_explained() {
    let folder = Folder::new("config-errors");
    for (text, message) in [
        (
            "upstream = \"http://a\"\nspeed = 5\n",
            "there is no option \"speed\"",
        ),
        (
            "upstream = \"http://a\"\nconfig = \"b\"\n",
            "there is no option \"config\"",
        ),
        (
            "upstream = \"http://a\"\nttl = \"60\"\n",
            "units ms, s, m, h, d",
        ),
        (
            "upstream = \"http://a\"\nttl = 1.5\n",
            "ttl: expected a string",
        ),
        (
            "upstream = \"http://a\"\nttl = false\n",
            "ttl: expected a value, not false",
        ),
        (
            "upstream = \"http://a\"\nmax-streams = 0\n",
            "0 is not in 1..",
        ),
        (
            "upstream = \"http://a\"\nhealth-path = \"up\"\n",
            "--health-path: the path of a health check must begin with /",
        ),
        ("upstream = \"ftp://a\"\n", "unknown scheme"),
        ("upstream = \n", "TOML parse error"),
        ("ttl = \"60s\"\n", "--upstream"),
    ] {
        folder.write("proxy.toml", text);
        for options in [&["--check"][..], &[]] {
            let file = folder.file("proxy.toml");
            let options = [&["--config", &file], options].concat();
            let output = example("proxy", &options)
                .output()
                .await
                .expect("an output");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{text}");
            assert!(said.starts_with("error: "), "{said}");
            assert!(said.contains(message), "{text}: {said}");
        }
    }
    folder.write("proxy.toml", "upstream = \"http://a\"\n");
    let file = folder.file("proxy.toml");
    let output = example("proxy", &["--config", &file, "--check"])
        .output()
        .await;
    let output = output.expect("an output");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"the options are valid\n");
    let output = example("proxy", &["--config", &folder.file("none")])
        .output()
        .await;
    let said = String::from_utf8_lossy(&output.expect("an output").stderr).into_owned();
    assert!(said.contains("none: No such file"), "{said}");
}

/// A file with errors changes nothing; the program goes on with its store.
#[tokio::test]
async fn a_hang_up_stops_nothing() {
    let origin = Origin::saying(fresh("hello")).await;
    let folder = Folder::new("config-hang-up");
    folder.write("proxy.toml", format!("upstream = \"{}\"\n", origin.url()));
    let mut command = example("proxy", &["--config", &folder.file("proxy.toml")]);
    let command = command.env("RUST_LOG", "info").stderr(Stdio::piped());
    let mut proxy = Example::run(command).await;
    let mut lines = BufReader::new(proxy.stderr()).lines();
    exchange(proxy.port(), last_get("/")).await;
    for (text, message) in [
        ("speed = 5\n", "options not valid"),
        ("", "options read again"),
    ] {
        folder.write(
            "proxy.toml",
            format!("upstream = \"{}\"\n{text}", origin.url()),
        );
        proxy.signal("HUP").await;
        let logged = async {
            loop {
                let line = lines.next_line().await.expect("a pipe").expect("a line");
                if line.contains(message) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, logged)
            .await
            .expect("it is logged");
        assert!(
            exchange(proxy.port(), last_get("/"))
                .await
                .contains("; hit")
        );
    }
    proxy.signal("TERM").await;
    assert_eq!(proxy.exit().await.code(), Some(0));
}
