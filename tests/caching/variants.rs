//! RFC 9111 §4.1: several responses under one key, told apart by the request fields that selected
//! them, and by nothing else.

use http::Request;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer};
use crate::support::time::settled;
use crate::support::{get, put, send, with};

/// An origin that answers with what a field said, and varies by it.
fn echo(name: &'static str) -> Origin {
    Origin::at_once(move |request| {
        let lines = request.headers().get_all(name).iter();
        let said: Vec<_> = lines.map(|line| format!("{line:?}")).collect();
        let fields = [("cache-control", "max-age=60, public"), ("vary", name)];
        answer(200, &fields, said.join(" "))
    })
}

fn asks(name: &'static str, lines: &[&str]) -> Request<()> {
    lines
        .iter()
        .fold(get("/a"), |request, line| with(request, name, line))
}

/// Equal meanings hit, however they are written; others do not.
#[tokio::test(start_paused = true)]
async fn requests_that_mean_the_same_select_the_same() {
    for (name, stored, asked, is_hit) in [
        (
            "accept-encoding",
            &["gzip, br"][..],
            &["br ,  GZIP;q=1.0"][..],
            true,
        ),
        ("accept-encoding", &["gzip", "br"], &["gzip,br"], true),
        ("accept-encoding", &["gzip"], &["gzip;q=0"], false),
        ("accept-encoding", &["gzip"], &[""], false),
        ("accept-encoding", &[""], &[], false),
        ("accept-encoding", &[";;;="], &[";;;="], true),
        (
            "accept-language",
            &["de, en;q=0.5"],
            &["DE,en;q=0.50"],
            true,
        ),
        ("accept-language", &["de, en"], &["en, de"], false),
        ("accept", &["text/html"], &["Text/HTML"], true),
        ("user-agent", &["A"], &["a"], false),
        ("x-own", &["a", "b"], &["a, b"], true),
        ("x-own", &["a,b"], &["a, b"], false),
        // Keyed by each value, never shared.
        ("cookie", &["id=1"], &["id=2"], false),
        ("cookie", &["id=1"], &["id=1"], true),
        ("authorization", &["alice"], &["bob"], false),
        (
            "origin",
            &["https://a.example"],
            &["https://b.example"],
            false,
        ),
    ] {
        on_both_backends(async |layer| {
            let service = layer.layer(echo(name));
            send(&service, asks(name, stored)).await;
            let answer = send(&service, asks(name, asked)).await;
            assert_eq!(answer.is_hit(), is_hit, "{name}: {stored:?} {asked:?}");
            assert!(
                send(&service, asks(name, stored)).await.is_hit(),
                "{name}: {stored:?}"
            );
        })
        .await;
    }
}

/// Encodings of one page do not serve each other, whatever their tags.
#[tokio::test(start_paused = true)]
async fn encodings_do_not_serve_each_other() {
    let origin = Origin::at_once(|request| {
        let accepts = request.headers().get("accept-encoding");
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-encoding")];
        match accepts.map(|value| value.as_bytes()) {
            Some(b"gzip") => {
                let own = [("content-encoding", "gzip"), ("etag", "\"a-gzip\"")];
                answer(200, &[fields, own].concat(), "zipped")
            }
            _ => answer(200, &[&fields[..], &[("etag", "\"a\"")]].concat(), "plain"),
        }
    });
    let service = CacheLayer::new(MemoryBackend::default()).layer(origin.clone());
    for _ in 0..2 {
        let zipped = send(&service, asks("accept-encoding", &["gzip"])).await;
        assert_eq!(
            (&*zipped.body, &*zipped.header("content-encoding")),
            ("zipped", "gzip")
        );
        let plain = send(&service, get("/a")).await;
        assert_eq!(
            (&*plain.body, &*plain.header("content-encoding")),
            ("plain", "")
        );
    }
    assert_eq!(origin.calls(), 2);
    // A tag of one is no tag of the other.
    let other = with(get("/a"), "if-none-match", "\"a-gzip\"");
    assert_eq!(send(&service, other).await.status, 200);
    let own = with(
        asks("accept-encoding", &["gzip"]),
        "if-none-match",
        "\"a-gzip\"",
    );
    assert_eq!(send(&service, own).await.status, 304);
}

#[tokio::test(start_paused = true)]
async fn all_variants_vanish_together() {
    on_both_backends(async |layer| {
        let origin = echo("accept-language");
        let service = layer.layer(origin.clone());
        let languages = ["de", "en", "fr"];
        for language in languages {
            send(&service, asks("accept-language", &[language])).await;
        }
        for language in languages {
            assert!(
                send(&service, asks("accept-language", &[language]))
                    .await
                    .is_hit()
            );
        }
        send(&service, put("/a")).await;
        for language in languages {
            assert!(
                !send(&service, asks("accept-language", &[language]))
                    .await
                    .is_hit()
            );
        }
    })
    .await;
}

/// As many entries as agents there are not, and the latest stay.
#[tokio::test(start_paused = true)]
async fn variants_of_one_key_are_bounded() {
    for (backend, most) in [
        (MemoryBackend::default(), 32),
        (MemoryBackend::builder().max_variants(3).build(), 3),
    ] {
        let service = CacheLayer::new(backend.clone()).layer(echo("user-agent"));
        let agents = if most == 32 { 20_000 } else { 100 };
        let agent = |number: usize| asks("user-agent", &[&format!("agent {number}")]);
        for number in 0..agents {
            send(&service, agent(number)).await;
        }
        let entries = backend.usage().expect("known").entries;
        // The rule beside them, which is where the resource's record is.
        assert_eq!(entries, most as u64 + 1);
        for number in agents - most..agents {
            assert!(send(&service, agent(number)).await.is_hit(), "{number}");
        }
        assert!(!send(&service, agent(agents - most - 1)).await.is_hit());
    }
}

/// What an older rule selected goes with it.
#[tokio::test(start_paused = true)]
async fn another_rule_takes_the_place_of_all_variants() {
    let backend = MemoryBackend::default();
    let origin = Origin::at_once(|request| {
        let vary = match request.headers().contains_key("x-new") {
            true => "x-new",
            false => "accept-language",
        };
        answer(
            200,
            &[("cache-control", "max-age=60"), ("vary", vary)],
            "text",
        )
    });
    let service = CacheLayer::new(backend.clone()).layer(origin);
    for language in ["de", "en", "fr"] {
        send(&service, asks("accept-language", &[language])).await;
    }
    assert_eq!(backend.usage().expect("known").entries, 4);
    send(
        &service,
        with(asks("accept-language", &["it"]), "x-new", "1"),
    )
    .await;
    assert_eq!(backend.usage().expect("known").entries, 2);
}

/// RFC 9111 §4.1: of several responses that match, the latest counts.
#[tokio::test(start_paused = true)]
async fn a_rule_of_variants_that_comes_back_revives_no_older_variant() {
    for meanwhile in [
        &[][..],
        &[("vary", "x-other")],
        &[("vary", "accept-language, x-other")],
    ] {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |request| {
                let fresh = [("cache-control", "max-age=60")];
                let vary = match request.headers().contains_key("x-meanwhile") {
                    true => meanwhile,
                    false => &[("vary", "accept-language")],
                };
                answer(200, &[&fresh[..], vary].concat(), "text")
            });
            let service = layer.layer(origin.clone());
            let asks = |language| with(get("/a"), "accept-language", language);
            for language in ["de", "en", "fr"] {
                send(&service, asks(language)).await;
                settled().await;
            }
            let other = with(asks("it"), "x-meanwhile", "1");
            send(&service, with(other, "cache-control", "no-cache")).await;
            settled().await;
            // The rule comes back with another variant.
            send(&service, with(asks("fr"), "cache-control", "no-cache")).await;
            settled().await;
            assert!(send(&service, asks("fr")).await.is_hit());
            for language in ["de", "en"] {
                let got = send(&service, asks(language)).await;
                assert!(!got.is_hit(), "{meanwhile:?} {language}");
            }
        })
        .await;
    }
}
