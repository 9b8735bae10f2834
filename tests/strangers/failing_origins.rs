//! What many clients can do to an inner service that fails: they do not call it all at once.
