//! Passwords in options: no error shows them.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::example::{Example, PATIENCE, example, program};
use crate::folder::Folder;
use crate::origin::{Origin, fresh};

#[allow(dead_code, reason = "programs end with it")]
#[path = "../../../examples/common/public_text.rs"]
mod public_text;

const SECRET: &str = "SECRET";

/// Files that are not valid, each with what its error says.
const FILES: [(&str, &str); 7] = [
    (
        "upstream = \"http://user:SECRET@127.0.0.1:1\"\n",
        "user information is not supported; remove everything up to the @",
    ),
    (
        "upstream = [\"http://127.0.0.1:1\", \"/api=http://user:SECRET@127.0.0.1:1\"]\n",
        "invalid value '/api=http://…@127.0.0.1:1' for '--upstream",
    ),
    ("upstream = \"user:SECRET@a\"\n", "invalid upstream \"…@a\""),
    (
        "upstream = \"http://a\"\nredis-url = \"redis://:SECRET@a\n",
        "redis-url = \"redis://…@a",
    ),
    // The quote of a password is the error.
    (
        "upstream = \"http://a\"\nredis-url = \"redis://:SEC\"SECRET@a\"\n",
        "redis-url = \"redis://…@a",
    ),
    (
        "upstream = \"http://a\"\nbackend = \"redis://:SECRET@a\"\n",
        "invalid value 'redis://…@a' for '--backend",
    ),
    (
        "upstream = \"http://a\"\n[cache]\nttl = \"redis://:SECRET@a\"\n",
        "redis://…@a",
    ),
];

async fn refusal(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(program(name)).args(arguments).output().await;
    let output = output.expect("an output");
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[tokio::test]
async fn a_program_that_does_not_start_shows_no_password() {
    let folder = Folder::new("secrets");
    let file = folder.file("proxy.toml");
    for (text, message) in FILES {
        folder.write("proxy.toml", text);
        for more in [&["--check"][..], &[]] {
            let said = refusal("proxy", &[&["--config", &file], more].concat()).await;
            assert!(said.contains(message), "{text}: {said}");
            assert!(!said.contains(SECRET), "{text}: {said}");
        }
    }
    for flags in [
        &["--upstream", "http://user:SECRET@a"][..],
        &["--upstream=/api=http://user:SECRET@a"],
        &["--upstream", "http://a", "redis://:SECRET@a"],
        &["--upstream", "http://a", "--ttl", "redis://:SECRET@a"],
        #[cfg(feature = "redis")]
        &[
            "--upstream=http://a",
            "--backend=redis",
            "--redis-url=redis:/:SECRET@a",
        ],
    ] {
        for more in [&["--check"][..], &[]] {
            let said = refusal("proxy", &[flags, more].concat()).await;
            assert!(said.starts_with("error: "), "{said}");
            assert!(!said.contains(SECRET), "{flags:?}: {said}");
        }
    }
    // The programs without files leave the command line to a library.
    for (name, flags) in [
        ("products", &["redis://:SECRET@a"][..]),
        ("products", &["--backend", "redis://:SECRET@a"]),
        ("products", &["--ttl=redis://user:SECRET@a"]),
        (
            "products",
            &["--admin", "127.0.0.1:0", "--admin-host", "u:SECRET@a"],
        ),
        ("canary", &["redis://:SECRET@a"]),
        ("canary", &["--instances", "redis://:SECRET@a"]),
        ("canary", &["--url", "http://user:SECRET@a b"]),
    ] {
        let said = refusal(name, flags).await;
        assert!(said.starts_with("error: "), "{said}");
        assert!(said.contains("…@a"), "{flags:?}: {said}");
        assert!(!said.contains(SECRET), "{flags:?}: {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_read_again_and_is_not_valid_shows_no_password() {
    let origin = Origin::saying(fresh("hello")).await;
    let folder = Folder::new("secrets-hang-up");
    folder.write("proxy.toml", format!("upstream = \"{}\"\n", origin.url()));
    let mut command = example("proxy", &["--config", &folder.file("proxy.toml")]);
    let command = command.env("RUST_LOG", "trace").stderr(Stdio::piped());
    let mut proxy = Example::run(command).await;
    let mut lines = BufReader::new(proxy.stderr()).lines();
    for (text, _) in FILES {
        folder.write("proxy.toml", text);
        proxy.signal("HUP").await;
        let logged = async {
            loop {
                let line = lines.next_line().await.expect("a pipe").expect("a line");
                assert!(!line.contains(SECRET), "{text}: {line}");
                if line.contains("options not valid") {
                    return;
                }
            }
        };
        timeout(PATIENCE, logged).await.expect("it is logged");
    }
    // The rest of a text with several lines.
    proxy.signal("TERM").await;
    while let Some(line) = lines.next_line().await.expect("a pipe") {
        assert!(!line.contains(SECRET), "{line}");
    }
}

#[test]
fn nothing_before_the_last_at_sign_of_a_url_is_shown() {
    for (text, expected) in [
        ("a: http://u:PW@h:1/p is none", "a: http://…@h:1/p is none"),
        ("redis://:PW@h", "redis://…@h"),
        ("\"redis://:P\"W@h", "\"redis://…@h"),
        ("'redis://:P W@' x", "'redis://…@' x"),
        ("redis://:a://PW@h", "redis://…@h"),
        ("[http://a@PW@b,http://c:PW@d]", "[http://…@b,http://…@d]"),
        ("/api=http://u:PW@h", "/api=http://…@h"),
        ("x = \"u:PW@PW@h\"", "x = \"…@h\""),
        ("redis:/:PW@h", "…@h"),
        ("http://a\nx://PW@b\n", "http://a\nx://…@b\n"),
        (
            "\"http://u:PW@h\": remove everything up to the @\n",
            "\"http://…@h\": remove everything up to the @\n",
        ),
        ("--config proxy@1.toml: none", "--config proxy@1.toml: none"),
        ("http://a: no server", "http://a: no server"),
    ] {
        assert_eq!(public_text::public_text(text), expected, "{text}");
    }
}
