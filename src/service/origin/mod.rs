pub(crate) mod fetch;
pub(crate) mod ready;
pub(crate) mod validation;
