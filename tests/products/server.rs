//! Runs the products example.

use std::ops::Deref;
use std::process::ExitStatus;

use tokio::process::Command;
use tokio::time::timeout;

use crate::client::Client;
use crate::example::{Example, PATIENCE, example};

/// A running server on a port of its own, killed when dropped.
pub struct Server {
    example: Example,
    client: Client,
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The example with these arguments.
pub fn products(arguments: &[&str]) -> Command {
    example("products", arguments)
}

impl Server {
    pub async fn start(arguments: &[&str]) -> Self {
        let example = Example::start("products", arguments).await;
        Self {
            client: Client::new(example.base()),
            example,
        }
    }

    /// Sends a signal by its name, without `SIG`.
    pub async fn signal(&self, name: &str) {
        self.example.signal(name).await;
    }

    pub async fn exit(self) -> ExitStatus {
        self.example.exit().await
    }

    /// Asks for statistics until they are as they should be.
    pub async fn until(&self, pointer: &str, expected: u64) {
        let reached = async {
            while self.stats().await.pointer(pointer).and_then(|n| n.as_u64()) != Some(expected) {
                tokio::task::yield_now().await;
            }
        };
        let waited = timeout(PATIENCE, reached).await;
        waited.unwrap_or_else(|_| panic!("{pointer} never was {expected}"));
    }
}
