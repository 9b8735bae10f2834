//! The classes of reasons by which metrics count.
//!
//! `Cache-Status`, logs and the statistics as JSON have each reason by itself. Metrics have as many
//! series as an operator can act upon: reasons with the same remedy are one class, which has the
//! name of the most common one.

use super::super::{BackendOperation, Bypass, FetchReason, Refusal};

pub(super) fn of_fetch(reason: FetchReason) -> &'static str {
    match reason {
        FetchReason::UriMiss | FetchReason::OtherKey => "uri-miss",
        FetchReason::VaryMiss | FetchReason::LongSelectingFields => "vary-miss",
        FetchReason::Stale => "stale",
        FetchReason::RequestNoCache
        | FetchReason::RequestMaxAge
        | FetchReason::RequestMinFresh
        | FetchReason::RequestCredentials => "request",
        FetchReason::Partial => "partial",
        FetchReason::BackendFailed => "backend-failed",
    }
}

pub(super) fn of_bypass(reason: Bypass) -> &'static str {
    match reason {
        Bypass::Method => "method",
        Bypass::Upgrade => "upgrade",
        Bypass::RequestContent
        | Bypass::Authority
        | Bypass::ContentTooLong
        | Bypass::ContentUnusable
        | Bypass::RequestBodyType => "request",
        Bypass::Skipped | Bypass::BypassField | Bypass::NoKey | Bypass::HookPanicked => "skipped",
    }
}

pub(super) fn of_refusal(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Method | Refusal::RequestNoStore => "request",
        Refusal::NoStore | Refusal::MustUnderstand | Refusal::NoCache => "no-store",
        Refusal::Private | Refusal::LongPrivateId => "private",
        Refusal::Credentials => "credentials",
        Refusal::Cookie => "cookie",
        Refusal::SetCookie => "set-cookie",
        Refusal::Vary | Refusal::LongSelectingFields => "vary",
        Refusal::Status | Refusal::NotRepresentation => "status",
        Refusal::NoLifetime | Refusal::UnreadableDirectives | Refusal::Expired => "no-lifetime",
        Refusal::TooLarge
        | Refusal::HeadTooLarge
        | Refusal::Stream
        | Refusal::Endless
        | Refusal::Groups => "too-large",
        Refusal::NoRoom | Refusal::Budget => "no-room",
        Refusal::Superseded
        | Refusal::WriteGrace
        | Refusal::KeepsBetter
        | Refusal::WaitedTooLong => "superseded",
        Refusal::BodyFailed | Refusal::Truncated | Refusal::Abandoned | Refusal::TooSlow => {
            "broken-off"
        }
        Refusal::BackendFailed => "backend-failed",
        Refusal::StoreIf | Refusal::Exempt | Refusal::HookPanicked => "store-if",
    }
}

pub(super) fn of_operation(operation: BackendOperation) -> &'static str {
    match operation {
        BackendOperation::Get => "get",
        BackendOperation::Put | BackendOperation::Fence => "put",
        // That of a write has to happen, whether its response is then stored or not.
        BackendOperation::Invalidate | BackendOperation::Replace | BackendOperation::Clear => {
            "invalidate"
        }
    }
}
