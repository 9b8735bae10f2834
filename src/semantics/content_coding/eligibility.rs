//! Whether a response may be coded.

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::semantics::fields;

/// The bodies that are coded, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodingLimits {
    /// The smallest one.
    pub min_body: u64,
    /// The largest one.
    pub max_body: u64,
}

/// Why a response is not coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncoded {
    /// Its status has no content, or that of a part.
    Status,
    /// It has a coding already.
    Coded,
    /// It is a part.
    Part,
    /// It says `no-transform` (RFC 9111 §5.2.2.6).
    NoTransform,
    /// Content of its media type is compressed already, or is a stream of messages.
    MediaType,
    /// It is smaller than the limit.
    TooSmall,
    /// It is larger than the limit.
    TooLarge,
}

/// Decides whether a response may be coded, whose body has this length; `None` if that is not known.
///
/// # Errors
/// The reason why not.
pub fn decide_coding(
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
    limits: CodingLimits,
) -> Result<(), Uncoded> {
    let has_none = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::RANGE_NOT_SATISFIABLE
        );
    match length {
        _ if has_none => Err(Uncoded::Status),
        _ if headers.contains_key(CONTENT_RANGE) => Err(Uncoded::Part),
        Some(length) if length < limits.min_body => Err(Uncoded::TooSmall),
        Some(length) if length > limits.max_body => Err(Uncoded::TooLarge),
        _ if headers.contains_key(CONTENT_ENCODING) => Err(Uncoded::Coded),
        _ if forbids_transformation(headers) => Err(Uncoded::NoTransform),
        _ if has_compressed_type(headers) => Err(Uncoded::MediaType),
        _ => Ok(()),
    }
}

/// Returns whether a message says `no-transform` (RFC 9111 §5.2.1.6, §5.2.2.6).
#[must_use]
pub fn forbids_transformation(headers: &HeaderMap) -> bool {
    let mut members = fields::list(headers, &CACHE_CONTROL);
    members.any(|member| {
        fields::parameter(member)
            .0
            .eq_ignore_ascii_case(b"no-transform")
    })
}

/// Returns whether coding content of the message's media type is of no use.
fn has_compressed_type(headers: &HeaderMap) -> bool {
    let Some(line) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let essence = line.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    let Ok(essence) = std::str::from_utf8(&essence) else {
        return false;
    };
    match essence.split_once('/') {
        Some(("image", kind)) => !matches!(kind, "svg+xml" | "bmp" | "x-ms-bmp"),
        Some(("audio" | "video", _)) => true,
        Some(("font", kind)) => kind.starts_with("woff"),
        Some(("text", kind)) => kind == "event-stream",
        Some(("application", kind)) => is_compressed_application(kind),
        _ => false,
    }
}

/// Returns whether `application/KIND` is an archive, or another format that is compressed, or that
/// has a compression of its own.
fn is_compressed_application(kind: &str) -> bool {
    const NAMES: [&str; 24] = [
        "brotli",
        "epub+zip",
        "font-woff",
        "font-woff2",
        "gzip",
        "java-archive",
        "octet-stream",
        "ogg",
        "pdf",
        "vnd.android.package-archive",
        "vnd.debian.binary-package",
        "vnd.rar",
        "x-7z-compressed",
        "x-brotli",
        "x-bzip",
        "x-bzip2",
        "x-compress",
        "x-compressed",
        "x-font-woff",
        "x-gzip",
        "x-rar-compressed",
        "x-xz",
        "zip",
        "zstd",
    ];
    const BEGINNINGS: [&str; 3] = [
        "grpc",
        "vnd.oasis.opendocument.",
        "vnd.openxmlformats-officedocument.",
    ];
    let begins = |beginning: &&str| kind.starts_with(*beginning);
    NAMES.contains(&kind) || kind.ends_with("+zip") || BEGINNINGS.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CodingLimits = CodingLimits {
        min_body: 1024,
        max_body: 4096,
    };

    fn decide(status: u16, lines: &[(&'static str, &str)], length: Option<u64>) -> Option<Uncoded> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        decide_coding(status, &headers, length, LIMITS).err()
    }

    #[test]
    fn the_status_the_length_and_the_fields_decide() {
        use Uncoded::{Coded, NoTransform, Part, Status, TooLarge, TooSmall};
        type Lines = &'static [(&'static str, &'static str)];
        #[rustfmt::skip]
        let rows: [(u16, Lines, Option<u64>, Option<Uncoded>); 20] = [
            (200, &[], Some(2000), None),
            (200, &[], None, None),
            (200, &[], Some(1024), None),
            (200, &[], Some(1023), Some(TooSmall)),
            (200, &[], Some(4096), None),
            (200, &[], Some(4097), Some(TooLarge)),
            (203, &[], Some(2000), None),
            (404, &[], Some(2000), None),
            (204, &[], None, Some(Status)),
            (206, &[], Some(2000), Some(Status)),
            (304, &[], None, Some(Status)),
            (416, &[], Some(2000), Some(Status)),
            (200, &[("content-range", "bytes 0-1/2")], Some(2000), Some(Part)),
            (200, &[("content-encoding", "gzip")], Some(2000), Some(Coded)),
            (200, &[("content-encoding", "identity")], Some(2000), Some(Coded)),
            (200, &[("cache-control", "no-transform")], Some(2000), Some(NoTransform)),
            (200, &[("cache-control", "max-age=1, No-Transform")], Some(2000), Some(NoTransform)),
            (200, &[("cache-control", "max-age=1"), ("cache-control", "no-transform=1")], None, Some(NoTransform)),
            (200, &[("cache-control", "no-transformation")], Some(2000), None),
            (200, &[("cache-control", "x=\"no-transform\"")], Some(2000), None),
        ];
        for (status, lines, length, expected) in rows {
            assert_eq!(
                decide(status, lines, length),
                expected,
                "{status} {lines:?} {length:?}"
            );
        }
    }

    #[test]
    fn media_types_that_are_compressed_already_are_left_as_they_are() {
        for (media_type, is_coded) in [
            ("text/html; charset=utf-8", true),
            ("text/event-stream", false),
            ("application/json", true),
            ("application/problem+json", true),
            ("application/javascript", true),
            ("application/wasm", true),
            ("image/svg+xml", true),
            ("Image/SVG+XML;a=b", true),
            ("image/png", false),
            ("IMAGE/JPEG", false),
            ("image/avif", false),
            ("video/mp4", false),
            ("audio/ogg", false),
            ("font/woff", false),
            ("font/woff2", false),
            ("font/ttf", true),
            ("application/font-woff2", false),
            ("application/zip", false),
            ("application/gzip", false),
            ("application/epub+zip", false),
            ("application/vnd.example+zip", false),
            (
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                false,
            ),
            ("application/octet-stream", false),
            ("application/pdf", false),
            ("application/grpc+proto", false),
            ("application/x-tar", true),
            ("nonsense", true),
            ("", true),
        ] {
            let decided = decide(200, &[("content-type", media_type)], Some(2000));
            let expected = (!is_coded).then_some(Uncoded::MediaType);
            assert_eq!(decided, expected, "{media_type}");
        }
    }
}
