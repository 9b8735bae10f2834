//! The addresses of a server: their lookup, and which of them did not answer lately.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use tokio::time::Instant;

/// How long an address that did not answer is tried after the others.
const AVOIDED_FOR: Duration = Duration::from_secs(30);

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

type LookupFn = dyn Fn(&str) -> Lookup + Send + Sync;

/// Looks host names up.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Resolver(Option<Arc<LookupFn>>);

impl Resolver {
    /// Looks names up by a function of the user.
    pub(in crate::proxy) fn from_fn<F, Fut>(lookup: F) -> Self
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Self(Some(Arc::new(move |host| Box::pin(lookup(host)))))
    }

    /// The addresses of a host, families in turns (RFC 8305 §4).
    pub(super) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let addresses = match &self.0 {
            Some(lookup) => {
                let addresses = lookup(host).await?.into_iter();
                addresses.map(|ip| SocketAddr::new(ip, port)).collect()
            }
            None => tokio::net::lookup_host((host, port)).await?.collect(),
        };
        Ok(in_turns(addresses))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_custom = self.0.is_some();
        f.debug_struct("Resolver")
            .field("is_custom", &is_custom)
            .finish()
    }
}

/// Alternates between the address families, beginning with that of the first address.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == begins_with_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut alternating = Vec::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        alternating.extend(first.next());
        alternating.extend(second.next());
    }
    alternating
}

/// The addresses that did not answer in time when they were last tried. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct AvoidedAddresses(Arc<Mutex<Vec<(SocketAddr, Instant)>>>);

impl AvoidedAddresses {
    pub(super) fn avoid(&self, address: SocketAddr) {
        let mut avoided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        avoided.retain(|(other, _)| *other != address);
        avoided.push((address, Instant::now() + AVOIDED_FOR));
    }

    pub(super) fn forgive(&self, address: SocketAddr) {
        let mut avoided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        avoided.retain(|(other, _)| *other != address);
    }

    /// Puts the avoided addresses behind the others, and forgets those whose time is over.
    pub(super) fn move_to_end(&self, addresses: &mut [SocketAddr]) {
        let mut avoided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        avoided.retain(|(_, until)| *until > now);
        addresses.sort_by_key(|address| avoided.iter().any(|(other, _)| other == address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| SocketAddr::new(text.parse().expect("an address"), 80);
        texts.iter().map(parse).collect()
    }

    /// RFC 8305 §4.
    #[test]
    fn address_families_alternate() {
        for (given, expected) in [
            (
                &["::1", "::2", "1.1.1.1"][..],
                &["::1", "1.1.1.1", "::2"][..],
            ),
            (
                &["1.1.1.1", "::1", "2.2.2.2"],
                &["1.1.1.1", "::1", "2.2.2.2"],
            ),
            (&["1.1.1.1", "2.2.2.2"], &["1.1.1.1", "2.2.2.2"]),
            (&[], &[]),
        ] {
            assert_eq!(in_turns(addresses(given)), addresses(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_did_not_answer_is_tried_last_for_a_while() {
        let all = addresses(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
        let avoided = AvoidedAddresses::default();
        let sorted = || {
            let mut sorted = all.clone();
            avoided.move_to_end(&mut sorted);
            sorted
        };
        avoided.avoid(all[0]);
        avoided.avoid(all[1]);
        assert_eq!(sorted(), [all[2], all[0], all[1]]);
        avoided.forgive(all[1]);
        assert_eq!(sorted(), [all[1], all[2], all[0]]);
        tokio::time::advance(AVOIDED_FOR).await;
        assert_eq!(sorted(), all);
    }
}
