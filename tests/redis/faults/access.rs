//! Redis denies access, or some of the commands.

use std::time::Instant;

use crate::faults::world::instance::Instance;
use crate::faults::world::load::Load;
use crate::faults::world::{World, guarded, options, patient};
use crate::support::logs::Logs;
use crate::support::redis::{RedisServer, Tap};

/// It is served all the same, with a line a second at most that says why, and no more attempts than
/// find out.
async fn assert_kept_out(url: &str, why: &str) -> Instance {
    let (logs, start) = (Logs::new(), Instant::now());
    let instance = World::default().instance(patient(options(url)));
    let before = instance.health();
    let load = Load::on(&instance);
    instance.gives_up(before).await;
    load.goes_on(200).await;
    assert_eq!(instance.hits(), 0);
    let lines = logs.lines("backend lookup failed");
    assert!(
        lines.len() <= start.elapsed().as_secs() as usize + 2,
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| line.contains(why)), "{lines:?}");
    load.end(why).await;
    instance
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_reported() {
    let server = RedisServer::configure().password("right").start().await;
    let tap = Tap::to(server.port()).await;
    let none = assert_kept_out(&tap.url(), "asks for a password").await;
    let wrong = tap.url().replace("//", "//:wrong@");
    let wrong = assert_kept_out(&wrong, "refused the user name or password").await;
    let tries = none.health().failures + wrong.health().failures;
    assert!(
        tap.accepted() as u64 <= tries,
        "{} of {tries}",
        tap.accepted()
    );
    let right = tap.url().replace("//", "//:right@");
    let instance = World::default().instance(guarded(options(&right)));
    instance.warm().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_back_and_forth_is_tried_again() {
    let server = RedisServer::start().await;
    let is_now = async |password: &str| {
        let rule = format!(">{password}");
        let rules = [
            "ACL",
            "SETUSER",
            "app",
            "on",
            "resetpass",
            &rule,
            "~*",
            "+@all",
        ];
        server.command(&rules).await;
        server.command(&["CLIENT", "KILL", "USER", "app"]).await;
    };
    is_now("one").await;
    let url = server.url().replace("//", "//app:one@");
    let instance = World::default().instance(guarded(options(&url)));
    instance.warm().await;
    let load = Load::on(&instance);
    load.goes_on(100).await;
    let before = instance.health();
    is_now("two").await;
    instance.gives_up(before).await;
    load.goes_on(100).await;
    is_now("one").await;
    instance.recovers().await;
    load.end("password changed").await;
}

async fn with_user(rules: &[&str]) -> (RedisServer, String) {
    let server = RedisServer::start().await;
    let user = ["ACL", "SETUSER", "app", "on", ">one", "~*", "+@all"];
    let said = server.command(&[&user, rules].concat()).await;
    assert!(!said.is_error(), "{said:?}");
    let url = server.url().replace("//", "//app:one@");
    (server, url)
}

#[tokio::test]
async fn without_scripts_it_is_of_no_use_and_says_so() {
    let (_server, url) = with_user(&["-evalsha", "-eval"]).await;
    assert_kept_out(&url, "may not call EVAL").await;
}

/// Lookups would work, but other instances would serve what this one has overwritten.
#[tokio::test]
async fn a_user_who_may_not_invalidate_reads_nothing() {
    for command in ["unlink", "get", "set"] {
        let (_server, url) = with_user(&[&format!("-{command}")]).await;
        assert_kept_out(&url, &format!("may not call {}", command.to_uppercase())).await;
    }
}

#[tokio::test]
async fn without_info_it_is_used_only_where_restarts_are_trusted() {
    let (_server, url) = with_user(&["-info"]).await;
    assert_kept_out(&url, "permit INFO, or set trust_restarts").await;
    let trusting = options(&url).trust_restarts(true);
    let instance = World::default().instance(guarded(trusting));
    instance.warm().await;
    let load = Load::on(&instance);
    load.goes_on(200).await;
    instance.recovers().await;
    load.end("without INFO").await;
}
