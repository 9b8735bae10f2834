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

/// The options of the library by their names: those of the layer, and of routes.
#[tokio::test]
async fn a_file_has_the_options_of_the_cache_and_the_command_line_overrides_them() {
    let origin = Origin::saying(ok("", "hello")).await;
    let folder = Folder::new("config-cache");
    let text = format!(
        "upstream = \"{}\"\n[cache]\nttl = \"20s\"\ncache_status_name = \"edge\"\n\
         [[cache.route]]\npath = \"/long/{{*rest}}\"\nttl = \"1h\"\n",
        origin.url(),
    );
    folder.write("proxy.toml", text);
    let file = folder.file("proxy.toml");
    let lifetimes = async |proxy: &Example| {
        let mut lifetimes = Vec::new();
        for path in ["/a", "/long/a"] {
            exchange(proxy.port(), last_get(path)).await;
            let said = exchange(proxy.port(), last_get(path)).await;
            let (_, rest) = said.split_once("edge; hit; ttl=").expect(&said);
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
            lifetimes.push(digits.expect("a number").parse::<u64>().expect("a number"));
        }
        lifetimes
    };
    let proxy = Example::start("proxy", &["--config", &file]).await;
    let lifetimes_of_file = lifetimes(&proxy).await;
    assert!(
        (10..=20).contains(&lifetimes_of_file[0]),
        "{lifetimes_of_file:?}"
    );
    assert!(
        (3500..=3600).contains(&lifetimes_of_file[1]),
        "{lifetimes_of_file:?}"
    );
    let proxy = Example::start("proxy", &["--config", &file, "--ttl", "300s"]).await;
    let overridden = lifetimes(&proxy).await;
    assert!((250..=300).contains(&overridden[0]), "{overridden:?}");
    assert!((3500..=3600).contains(&overridden[1]), "{overridden:?}");
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
        (
            "upstream = \"http://a\"\nhealth-interval = \"1s\"\n",
            "--health-path <PATH>",
        ),
        (
            "upstream = \"http://a\"\nhealth-failures = 1\n",
            "--health-path <PATH>",
        ),
        (
            "upstream = [\"http://a\", \"/=http://b\"]\n",
            "upstream prefix \"/\": all paths begin so",
        ),
        (
            "upstream = [\"http://a\", \"/x=http://b\", \"/%78/=http://c\"]\n",
            "upstream prefix \"/%78/\": it has an upstream already",
        ),
        (
            "upstream = \"http://a,b\"\n",
            "each server needs a URL of its own",
        ),
        (
            "upstream = \"http://a\"\n[cache]\nspeed = 5\n",
            "cache: unknown field `speed`",
        ),
        (
            "upstream = \"http://a\"\n[cache]\nttl = \"soon\"\n",
            "invalid duration \"soon\"",
        ),
        (
            "upstream = \"http://a\"\n[cache]\nmax_body = \"2MiB\"\n",
            "cache: max_body is set by a flag of the proxy: --max-body",
        ),
        (
            "upstream = \"http://a\"\n[[cache.route]]\npath = \"a\"\n",
            "route must be given paths that begin with `/`, not \"a\"",
        ),
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
