//! A request that is read by its content: a QUERY (RFC 10008) or a read-only POST.
//!
//! ```text
//! read_by_content: collects the content, extends the key by it, and hides it with the method:
//!                  the request goes through the cache as a GET without content
//! HttpService:     shows them again, to the inner service, at each of its calls
//! ```
//!
//! So all rules for a GET hold for it, with a key of its own. Start with [`HiddenContent`].

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, Request, request};

use crate::key::KeyExtension;
use crate::request_body::{Conversion, RequestContent};

/// The method and the content of a request that goes through the cache as a GET.
#[derive(Clone)]
pub(crate) struct HiddenContent {
    method: Method,
    bytes: Bytes,
    /// The [`Conversion`] of the request's body.
    conversion: Arc<dyn Any + Send + Sync>,
}

impl HiddenContent {
    /// Hides the method and the content of a request in its extensions. Its body is to be empty.
    pub(crate) fn hide<Req: 'static>(
        request: &mut request::Parts,
        bytes: Bytes,
        conversion: Conversion<Req>,
    ) {
        let hidden = Self {
            method: std::mem::replace(&mut request.method, Method::GET),
            bytes,
            conversion: Arc::new(conversion),
        };
        request.extensions.insert(hidden);
    }

    /// Gives a request the method and the content that it came with.
    pub(crate) fn show<Req: 'static>(mut request: Request<Req>) -> Request<Req> {
        let Some(hidden) = request.extensions_mut().remove::<Self>() else {
            return request;
        };
        let (mut parts, empty) = request.into_parts();
        parts.method = hidden.method;
        let conversion = hidden.conversion.downcast_ref::<Conversion<Req>>();
        let body = conversion.map_or(empty, |conversion| {
            (conversion.make)(RequestContent::of_bytes(hidden.bytes))
        });
        Request::from_parts(parts, body)
    }

    /// The method that a request came with.
    pub(crate) fn method_of<Req>(request: &Request<Req>) -> &Method {
        let hidden = request.extensions().get::<Self>();
        hidden.map_or(request.method(), |hidden| &hidden.method)
    }

    /// Whether the cache may make a request conditional. The conditions of a POST have another
    /// meaning (RFC 9110 §13.1.2).
    pub(crate) fn lets_add_conditions<Req>(request: &Request<Req>) -> bool {
        Self::method_of(request) != Method::POST
    }
}

/// The length that the head of a request announces for its content; an error if it announces none
/// that can be read.
pub(crate) fn announced_length(headers: &HeaderMap) -> Result<Option<u64>, UnreadableLength> {
    let mut announced = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        let digits = line
            .to_str()
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok());
        match (length, announced) {
            (None, _) => return Err(UnreadableLength),
            (Some(length), Some(other)) if length != other => return Err(UnreadableLength),
            (length, _) => announced = length,
        }
    }
    Ok(announced)
}

/// A `Content-Length` that is no number, or two numbers.
pub(crate) struct UnreadableLength;

/// What a request is told apart by beside its target: its method, its content and the fields about
/// that, `Content-Type` and `Content-Encoding` among them (RFC 10008).
pub(crate) fn key_extension(request: &request::Parts, content: &[u8]) -> KeyExtension {
    let is_about_content =
        |name: &HeaderName| *name != CONTENT_LENGTH && name.as_str().starts_with("content-");
    let headers = request.headers.iter();
    let mut about: Vec<_> = headers
        .filter(|(name, _)| is_about_content(name))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    // Stable: the order of a field's own lines counts.
    about.sort_by_key(|(name, _)| *name);
    let fields = about
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), value]);
    let parts = std::iter::once(request.method.as_str().as_bytes())
        .chain(fields)
        .chain([content]);
    KeyExtension::new("content", parts)
}

/// Gives a request the fields of one whose content is here: those that say how it came are in no
/// key.
pub(crate) fn set_framing(headers: &mut HeaderMap, length: usize) {
    headers.remove(TRANSFER_ENCODING);
    headers.remove(TRAILER);
    // Nobody waits for a response to send it any more.
    headers.remove(EXPECT);
    headers.insert(CONTENT_LENGTH, length.into());
}
