pub(crate) mod ranges;
pub(crate) mod stored;
