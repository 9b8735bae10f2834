//! The rules of HTTP caching as pure functions: RFC 9111 and the documents around it.
//!
//! Nothing in here waits, locks, reads a clock or does I/O: the current time is an argument, and a
//! decision is an enum that carries its reason. The submodules do not know the cache key, backends
//! or the service; what the crate does with a decision is decided there.
//!
//! One request passes them in this order:
//!
//! ```text
//! lookup    reuse         may the stored response answer, and with 200, 304, 206 or 416?
//!                         (with ranges, validation, freshness and vary)
//! miss      validation    the conditions that validate the stored response at the origin
//! response  storing       may the response be stored, until when, for which requests?
//!           stored        the stored response, ready to be sent
//! write     invalidation  the resources that a write concerns; groups: RFC 9875
//!           content_coding  the coding it is sent in, and its head then
//! answer    cache_status  the `Cache-Status` field; reason: why the cache decided so
//! ```
//!
//! Start with [`storing::decide_storage`] and [`reuse::decide_reuse`]: they are the two decisions
//! of RFC 9111 §3 and §4.

pub(crate) mod allocation;
pub mod bypass_fields;
pub mod cache_control;
pub mod cache_status;
#[cfg_attr(
    not(feature = "compress"),
    allow(dead_code, reason = "nothing sets the option that needs it")
)]
pub mod content_coding;
pub mod fields;
pub mod freshness;
pub mod groups;
pub mod invalidation;
pub(crate) mod marks;
pub mod moment;
pub mod ranges;
pub mod reason;
pub mod request_kind;
pub mod reuse;
pub mod stored;
pub mod storing;
pub mod validation;
pub mod vary;
