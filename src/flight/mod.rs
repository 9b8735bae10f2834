//! One fill per key: who leads, who follows, and the bytes as they arrive.
//!
//! Knows keys, fences and bytes. What a head may be shared with, and what is done with a finished body, is the service's
//! business.

mod budget;
mod follower;
mod memory;
#[cfg(all(test, trc_loom))]
mod model;
mod news;
mod open;
mod reader;
mod stream;
mod table;

pub(crate) use budget::{Budget, Share};
pub(crate) use follower::HandOver;
pub(crate) use memory::{ShortMemory, Whose};
pub(crate) use news::Stage;
pub(crate) use open::Terms;
pub(crate) use reader::{Read, Reader};
pub(crate) use stream::{Ended, Readers, Room, Stream};
pub(crate) use table::{Entered, Flights, Lead};
