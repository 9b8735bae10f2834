//! The bounds of the inner service and its bodies, each as one trait.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::error::BoxError;

/// A service that the cache can call, also from a background task.
pub(crate) trait InnerService<Req, Res>:
    Service<Request<Req>, Response = Response<Res>, Error: Send + 'static, Future: Send + 'static>
    + Send
    + 'static
{
}

impl<S, Req, Res> InnerService<Req, Res> for S where
    S: Service<
            Request<Req>,
            Response = Response<Res>,
            Error: Send + 'static,
            Future: Send + 'static,
        > + Send
        + 'static
{
}

/// A response body that the cache can store and share.
pub(crate) trait InnerBody:
    Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static
{
}

impl<B> InnerBody for B where B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}
