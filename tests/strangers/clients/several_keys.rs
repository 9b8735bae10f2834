//! Honest clients that are noted at several keys, because pages hang or a stranger has left their calls.

use tokio::time::sleep;
use tower::Layer;

use super::counted_page::{ask_for_pages, page, start};
use super::{FOR_EVER, MS, from, with_clients};
use crate::support::time::SECOND;
use crate::support::{get, with};

/// A stranger hangs on each page of a site, whose honest clients have held up others at three keys
/// themselves: they are like it.
#[tokio::test(start_paused = true)]
async fn honest_clients_noted_at_three_keys_wait_for_no_stranger_at_each_page() {
    let mut all = Vec::new();
    for (before, attacks) in [
        ("nothing", false),
        ("nothing", true),
        ("three pages hang", false),
        ("three pages hang", true),
        ("reports that the stranger leaves", false),
        ("reports that the stranger leaves", true),
    ] {
        let (origin, _) = page(|_| 50, "public, max-age=60");
        let service = with_clients().layer(origin);
        for number in 0..9 {
            for client in ["b", "c"] {
                let other = if client == "b" { "c" } else { "b" };
                match before {
                    "three pages hang" => {
                        let path = format!("/hanging/{}", number % 3);
                        for client in [client, other] {
                            let request = from(client, with(get(&path), "x-odd", "hangs"));
                            start(&service, request, 30 * SECOND);
                        }
                    }
                    "reports that the stranger leaves" => {
                        let path = format!("/report/{client}/{}", number % 3);
                        let request = from(client, with(get(&path), "x-odd", "takes 10000 200"));
                        start(&service, request, FOR_EVER);
                        sleep(MS).await;
                        if attacks {
                            start(&service, from("a", get(&path)), 9900 * MS);
                        }
                    }
                    _ => {}
                }
            }
            sleep(5 * SECOND).await;
        }
        sleep(60 * SECOND).await;
        let got = ask_for_pages(&service, (500, 400), (20, attacks)).await;
        println!("{before}, attacks {attacks}: {got:?}");
        all.push((before, attacks, got));
    }
    for (before, attacks, got) in all {
        // They wait for it twice as long as others have waited for them, in all.
        assert!(got.long * 6 <= got.count, "{before}, {attacks}: {got:?}");
    }
}
