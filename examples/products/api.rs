//! The service behind the cache. Nothing in it concerns caching.

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONTENT_LOCATION, LOCATION};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use uuid::Uuid;

use crate::database::Database;
use crate::envelope::success;
use crate::failure::{self, Failure};
use crate::input::Draft;
use crate::product::Product;

pub const PRODUCTS: &str = "/products";

pub fn routes(database: Database) -> Router {
    Router::new()
        .route(PRODUCTS, get(list).post(create))
        .route("/products/{id}", get(show).put(change).delete(remove))
        .method_not_allowed_fallback(failure::method_not_allowed)
        .fallback(failure::not_found)
        .with_state(database)
}

async fn list(State(database): State<Database>) -> Result<Response, Failure> {
    success("all products", database.list().await?)
}

async fn create(State(database): State<Database>, draft: Draft) -> Result<Response, Failure> {
    let product = database.insert(draft).await?;
    let location = [(LOCATION, path(&product))];
    Ok((StatusCode::CREATED, location, write_response(&product)?).into_response())
}

async fn show(State(database): State<Database>, id: ProductId) -> Result<Response, Failure> {
    let product = database.get(id.0).await?.ok_or_else(|| id.not_found())?;
    product_response(&product)
}

async fn change(
    State(database): State<Database>,
    id: ProductId,
    draft: Draft,
) -> Result<Response, Failure> {
    let product = database.update(id.0, draft).await?;
    Ok(write_response(&product.ok_or_else(|| id.not_found())?)?.into_response())
}

async fn remove(State(database): State<Database>, id: ProductId) -> Result<StatusCode, Failure> {
    match database.delete(id.0).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(id.not_found()),
    }
}

/// The response of GET, POST and PUT, byte for byte the same for the same product, so that the
/// cache can store the response to a write.
fn product_response(product: &Product) -> Result<Response, Failure> {
    success("one product", product)
}

/// The response to a write. `Content-Location` says that it is what a GET of that path would
/// return (RFC 9110 §8.7); write-through needs it.
fn write_response(product: &Product) -> Result<impl IntoResponse, Failure> {
    let location = [(CONTENT_LOCATION, path(product))];
    Ok((location, product_response(product)?))
}

fn path(product: &Product) -> String {
    format!("{PRODUCTS}/{}", product.id)
}

struct ProductId(Uuid);

impl ProductId {
    fn not_found(&self) -> Failure {
        let message = format!("there is no product {}", self.0);
        Failure::new(StatusCode::NOT_FOUND, message)
    }
}

/// Accepts only one spelling, in the path as it was received: the cache treats any other spelling
/// as another resource, which a write to the first one would not invalidate.
impl<S: Sync> FromRequestParts<S> for ProductId {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Failure> {
        let text = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let id = Uuid::parse_str(text).ok();
        id.filter(|id| id.to_string() == text)
            .map(Self)
            .ok_or_else(|| {
                let message =
                    format!("invalid product id {text:?}: use a lower-case UUID with hyphens");
                Failure::new(StatusCode::BAD_REQUEST, message)
            })
    }
}
