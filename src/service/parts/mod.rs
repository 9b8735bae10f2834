pub(crate) mod complete;
pub(crate) mod merge;
