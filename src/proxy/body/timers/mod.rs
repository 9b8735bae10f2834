//! Timers of bodies: for pauses of their senders and readers, and for the wait for a response's
//! head.
//!
//! Know nothing of the content. Start reading at `idle_timer`.

pub(in crate::proxy) mod head_clock;
pub(in crate::proxy) mod idle_timer;
pub(in crate::proxy) mod poll_until;
pub(in crate::proxy) mod reader_timer;
