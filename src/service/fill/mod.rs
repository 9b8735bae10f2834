pub(crate) mod decision;
pub(crate) mod groups;
pub(crate) mod policy;
