//! `GET /`: a list of the endpoints, for people with curl. Belongs outside the cache.

use axum::Router;
use axum::handler::Handler;
use axum::middleware;
use axum::routing::get;

use crate::{failure, source};

const INDEX: &str = r#"A products API whose GETs are answered from a cache.

GET    /products         all products
POST   /products         creates a product: {"name":"Lamp","price":39.5}
GET    /products/{id}    one product
PUT    /products/{id}    replaces a product
DELETE /products/{id}    deletes a product
GET    /stats            counters of the cache and the database

"source" in each answer but that of /stats says whether it came from the cache or the database.
"#;

pub fn routes() -> Router {
    let refuse = failure::method_not_allowed.layer(middleware::from_fn(source::add_source));
    Router::new().route("/", get(async || INDEX).fallback(refuse))
}
