//! A QUERY (RFC 10008) or a read-only POST: collects its content, and reads it as a GET whose key
//! has the content.
//!
//! Nothing is looked up before all of the content is here, so that a client which sends slowly, or
//! leaves, concerns itself alone. Start with [`read_by_content`].

use bytes::Bytes;
use http::{Request, request};

use crate::backend::Backend;
use crate::key::canonical::cookies::CookieLines;
use crate::request_body::{Collected, Conversion, RequestContent, collect};
use crate::semantics::reason::Bypass;
use crate::state::LayerState;

use super::bounds::{InnerBody, InnerService};
use super::bypass::bypass;
use super::read::{put_back, read};
use super::request::content::{HiddenContent, announced_length, key_extension, set_framing};
use super::request::forwarded_form::ForwardedForm;
use super::request::route::RequestKey;
use super::served::ServedResult;

/// A request whose content is to be collected.
pub(crate) struct ContentRead {
    /// The key, without the content.
    pub(crate) key: RequestKey,
    pub(crate) form: ForwardedForm,
    /// The lines of `Cookie` as they came, if some cookies were taken off.
    pub(crate) cookies: Option<CookieLines>,
}

/// Answers a request that is read by its content.
///
/// If the content can be in no key, the request goes on as it came, past the cache.
///
/// # Errors
/// The error of the inner service.
pub(crate) async fn read_by_content<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Request<Req>,
    pending: Box<ContentRead>,
) -> ServedResult<Res, S::Error>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let ContentRead {
        mut key,
        form,
        cookies,
    } = *pending;
    let (mut parts, body) = request.into_parts();
    let (body, reason) = match collected(&state, &parts, body).await {
        Ok((content, conversion)) => {
            key.extend(&state.shared.store.seed, &key_extension(&parts, &content));
            set_framing(&mut parts.headers, content.len());
            if form.apply(&state.config, &mut parts).is_ok() {
                HiddenContent::hide(&mut parts, content, conversion);
                let empty = (conversion.make)(RequestContent::empty());
                let request = Request::from_parts(parts, empty);
                return Box::pin(read(state, inner, request, key)).await;
            }
            let body = (conversion.make)(RequestContent::of_bytes(content));
            (body, Bypass::HookPanicked)
        }
        Err(passed_on) => passed_on,
    };
    put_back(cookies, key.demand.take(), &mut parts.headers);
    let request = Request::from_parts(parts, body);
    Box::pin(bypass(state, inner, request, reason)).await
}

/// The content of a request. If that can be in no key, the error is a body that is as it came, and
/// the reason.
async fn collected<B: Backend, Req: 'static>(
    state: &LayerState<B>,
    parts: &request::Parts,
    body: Req,
) -> Result<(Bytes, Conversion<Req>), (Req, Bypass)> {
    let Some(conversion) = state.config.request_bodies.conversion::<Req>() else {
        return Err((body, Bypass::RequestBodyType));
    };
    let Ok(announced) = announced_length(&parts.headers) else {
        return Err((body, Bypass::ContentUnusable));
    };
    let body = (conversion.read)(body);
    match collect(body, announced, state.config.max_content()).await {
        Collected::Whole(content) => Ok((content, conversion)),
        Collected::PassedOn(reason, content) => Err(((conversion.make)(content), reason)),
    }
}
