pub(crate) mod capture;
pub(crate) mod origin;
pub(crate) mod pump;
pub(crate) mod response;
