//! How many connections there may be, of all clients and of one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits of connections. Clones share the counts.
#[derive(Clone)]
pub struct ClientLimits {
    all: Arc<Semaphore>,
    by_client: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// `None` for no limit.
    max_of_one: Option<usize>,
}

/// One of the connections that are counted, until it is dropped.
pub struct ClientPermit {
    _permit: OwnedSemaphorePermit,
    client: Option<IpAddr>,
    limits: ClientLimits,
}

impl ClientLimits {
    pub fn new(max: usize, max_of_one: Option<usize>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(max)),
            by_client: Arc::default(),
            max_of_one,
        }
    }

    /// Waits until there may be one more.
    pub async fn permit(&self) -> OwnedSemaphorePermit {
        let all = self.all.clone();
        all.acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    /// Counts a connection; `None` if its client has too many.
    pub fn count(&self, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<ClientPermit> {
        let client = self.max_of_one.map(|_| client_of(address));
        if let (Some(client), Some(max)) = (client, self.max_of_one) {
            let mut counts = self
                .by_client
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(client).or_default();
            if *count >= max {
                return None;
            }
            *count += 1;
        }
        Some(ClientPermit {
            _permit: permit,
            client,
            limits: self.clone(),
        })
    }
}

/// A client has 2^64 IPv6 addresses.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let Some(client) = self.client else {
            return;
        };
        let counts = &self.limits.by_client;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}
