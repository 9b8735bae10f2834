//! One GET's or HEAD's way, where the backend needs waiting for: lookup, verdict, answer.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::backend::Backend;

use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::service::coalesce;
use crate::service::lookup::Seen;
use crate::service::request::route::OwnKey;
use crate::state::Shared;

pub(crate) async fn exchange<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    key: OwnKey,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Backend,
    Req: Send + 'static,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    match shared.look(&key, &parts.headers).await {
        Seen::Usable(hit) => Ok(shared.hit(&hit, key.wanted(&parts))),
        Seen::Renewable(hit, why, miss) => {
            let response = shared.hit(&hit, key.wanted(&parts));
            if let Some(renewal) = shared.renewal(why, miss) {
                renewal.begin(inner, Request::from_parts(parts, body), key);
            }
            Ok(response)
        }
        Seen::GatewayTimeout => Ok(shared.gateway_timeout()),
        Seen::Fetch(miss) => {
            let request = Request::from_parts(parts, body);
            // Apart: it takes kilobytes, which a hit should not move about.
            Box::pin(coalesce::coalesce(shared, inner, request, miss.of(key))).await
        }
    }
}
