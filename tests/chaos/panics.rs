//! Panics of the crate, also those that a task swallows.
//!
//! What the origin throws, it throws without calling the hook.

use std::cell::RefCell;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes panics from now on, each in its thread: one runs a world with all its tasks.
pub fn watch() {
    static WATCHES: Once = Once::new();
    WATCHES.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            SEEN.with_borrow_mut(|seen| *seen = Some(panic.to_string()));
            hook(panic);
        }));
    });
}

/// The last panic of this thread, which is forgotten.
pub fn take() -> Option<String> {
    SEEN.take()
}
