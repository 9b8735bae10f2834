pub(crate) mod outgoing;
pub(crate) mod route;
