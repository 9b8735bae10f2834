//! The content of `POST /explain`, and of its answer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, request};
use serde::{Deserialize, Serialize};

use crate::admin::answer::{Answer, error, json};
use crate::admin::options::Admin;
use crate::semantics::marks::ExplainedRequest;
use crate::service::explain::{
    ExplainedKey, ExplainedLookup, ExplainedResponse, Explanation, SelectingField,
};

/// The content of `POST /explain`: the head of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Question {
    #[serde(default = "get")]
    method: String,
    uri: String,
    #[serde(default)]
    fields: BTreeMap<String, Lines>,
}

fn get() -> String {
    "GET".to_owned()
}

/// The lines of a field.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Several(Vec<String>),
}

impl Lines {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(line) => std::slice::from_ref(line),
            Self::Several(lines) => lines,
        }
    }
}

impl Question {
    /// The head, as a client of HTTP/1.1 would send it. The scheme of an absolute URI, which a
    /// server knows by the connection, is an extension.
    ///
    /// # Errors
    /// If a member is invalid: a sentence for the client.
    fn into_parts(self) -> Result<request::Parts, String> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::try_from(&*self.method)
            .map_err(|_| format!("method {:?} is no token", self.method))?;
        let uri = Uri::try_from(&*self.uri);
        let uri = uri.map_err(|wrong| format!("uri {:?}: {wrong}", self.uri))?;
        if !uri.path().starts_with('/') {
            return Err(format!("uri {:?} has no path that begins with /", self.uri));
        }
        for (name, lines) in &self.fields {
            let name: HeaderName = name
                .parse()
                .map_err(|_| format!("{name:?} is no name of a field"))?;
            for line in lines.as_slice() {
                let value = HeaderValue::try_from(line);
                let value = value.map_err(|_| format!("the value of {name} cannot be sent"))?;
                parts
                    .headers
                    .try_append(name.clone(), value)
                    .map_err(|_| "too many fields".to_owned())?;
            }
        }
        if let Some(scheme) = uri.scheme() {
            parts.extensions.insert(scheme.clone());
        }
        parts.extensions.insert(ExplainedRequest);
        set_target(&mut parts, uri);
        Ok(parts)
    }
}

/// Sets the target of a request in origin form, with the host of an absolute URI in `Host`.
///
/// A question that has another `Host` beside is for a request with a target in absolute form: which
/// of the two counts is up to those that read requests (RFC 9112 §3.2.2).
fn set_target(request: &mut request::Parts, uri: Uri) {
    if let Some(authority) = uri.authority() {
        let mut hosts = request.headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (None, _) => {
                if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
                    request.headers.insert(HOST, host);
                }
            }
            (Some(host), None) if host == authority.as_str() => {}
            _ => {
                request.uri = uri;
                return;
            }
        }
    }
    let path = uri.path_and_query().cloned();
    request.uri = path
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
        .into();
}

impl Admin {
    /// Answers `POST /explain`.
    pub(in crate::admin) async fn explain(&self, question: Question) -> Answer {
        let parts = match question.into_parts() {
            Ok(parts) => parts,
            Err(text) => return error(StatusCode::BAD_REQUEST, &text),
        };
        let passed = match &self.outer_layers {
            Some(layers) => layers.pass(parts).await,
            None => Ok(parts),
        };
        match passed {
            Ok(parts) => {
                let explanation = self.cache.explain(&parts).await;
                json(StatusCode::OK, &ExplanationContent::from(&explanation))
            }
            Err(status) => json(
                StatusCode::OK,
                &ExplanationContent::answered_outside(status),
            ),
        }
    }
}

impl ExplanationContent<'_> {
    /// The explanation of a request that never reaches the cache.
    fn answered_outside(status: StatusCode) -> Self {
        Self {
            verdict: "answered-outside",
            reason: None,
            is_hit: false,
            status: Some(status.as_u16()),
            ranges: Vec::new(),
            text: format!("The request does not reach the cache: it is answered {status} before."),
            refresh: None,
            key: None,
            lookups: Vec::new(),
            stored: None,
            vary: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// An explanation as JSON.
#[derive(Serialize)]
struct ExplanationContent<'e> {
    verdict: &'static str,
    reason: Option<&'static str>,
    is_hit: bool,
    /// That of an answer of the cache's own.
    status: Option<u16>,
    /// The ranges of a 206 of the cache's own, as `first-last`.
    ranges: Vec<String>,
    /// The explanation in sentences.
    text: String,
    refresh: Option<String>,
    key: Option<KeyContent<'e>>,
    lookups: Vec<LookupContent<'e>>,
    stored: Option<StoredContent>,
    vary: Vec<FieldContent<'e>>,
    notes: Vec<NoteContent>,
}

#[derive(Serialize)]
struct KeyContent<'e> {
    scheme: Option<&'e str>,
    authority: &'e str,
    path: &'e str,
    query: Option<&'e str>,
    /// The site and the path of the resource that writes invalidate.
    resource: [&'e str; 2],
}

/// One lookup. The id of a private one is nowhere.
#[derive(Serialize)]
struct LookupContent<'e> {
    /// `public` or `private`.
    partition: &'static str,
    /// `whole` or `parts`.
    looked_for: &'static str,
    verdict: &'static str,
    reason: Option<&'static str>,
    stored: Option<StoredContent>,
    vary: Vec<FieldContent<'e>>,
}

#[derive(Serialize)]
struct StoredContent {
    status: u16,
    body_bytes: u64,
    /// `null`: the whole is stored.
    parts: Option<PartsContent>,
    age_seconds: f64,
    /// `null`: fresh until it is invalidated.
    lifetime_seconds: Option<f64>,
    time_left_seconds: Option<f64>,
    lifetime_rule: &'static str,
    stale_while_revalidate_seconds: f64,
    stale_if_error_seconds: f64,
    stale_if_unreachable_seconds: f64,
    etag: Option<String>,
    groups: usize,
    is_selected: bool,
}

#[derive(Serialize)]
struct PartsContent {
    /// The ranges that are stored, as `first-last`.
    ranges: Vec<String>,
    /// The length of the whole.
    complete_bytes: u64,
}

#[derive(Serialize)]
struct FieldContent<'e> {
    name: &'e str,
    value: Option<&'e str>,
}

#[derive(Serialize)]
struct NoteContent {
    name: &'static str,
    reason: Option<&'static str>,
    text: String,
}

impl<'e> From<&'e Explanation> for ExplanationContent<'e> {
    fn from(explanation: &'e Explanation) -> Self {
        let notes = explanation.notes.iter().map(|note| NoteContent {
            name: note.as_str(),
            reason: note.reason(),
            text: note.to_string(),
        });
        Self {
            verdict: explanation.verdict.as_str(),
            reason: explanation.verdict.reason(),
            is_hit: explanation.verdict.is_hit(),
            status: explanation.status.map(|status| status.as_u16()),
            ranges: texts_of(&explanation.ranges),
            text: explanation.to_string(),
            refresh: explanation.refresh.map(|refresh| refresh.to_string()),
            key: explanation.key.as_ref().map(KeyContent::from),
            lookups: explanation
                .lookups
                .iter()
                .map(LookupContent::from)
                .collect(),
            stored: explanation.stored.as_ref().map(StoredContent::from),
            vary: explanation.vary.iter().map(FieldContent::from).collect(),
            notes: notes.collect(),
        }
    }
}

/// Ranges as `Content-Range` has them.
fn texts_of(ranges: &[Range<u64>]) -> Vec<String> {
    let text = |range: &Range<u64>| format!("{}-{}", range.start, range.end.saturating_sub(1));
    ranges.iter().map(text).collect()
}

impl<'e> From<&'e SelectingField> for FieldContent<'e> {
    fn from(field: &'e SelectingField) -> Self {
        Self {
            name: field.name.as_str(),
            value: field.value.as_deref(),
        }
    }
}

impl<'e> From<&'e ExplainedLookup> for LookupContent<'e> {
    fn from(lookup: &'e ExplainedLookup) -> Self {
        Self {
            partition: if lookup.is_private {
                "private"
            } else {
                "public"
            },
            looked_for: if lookup.is_for_parts {
                "parts"
            } else {
                "whole"
            },
            verdict: lookup.verdict.as_str(),
            reason: lookup.verdict.reason(),
            stored: lookup.stored.as_ref().map(StoredContent::from),
            vary: lookup.vary.iter().map(FieldContent::from).collect(),
        }
    }
}

impl<'e> From<&'e ExplainedKey> for KeyContent<'e> {
    fn from(key: &'e ExplainedKey) -> Self {
        Self {
            scheme: key.scheme.as_deref(),
            authority: &key.authority,
            path: &key.path,
            query: key.query.as_deref(),
            resource: [&key.site, &key.resource_path],
        }
    }
}

impl From<&ExplainedResponse> for StoredContent {
    fn from(stored: &ExplainedResponse) -> Self {
        let etag = stored.etag.as_ref();
        Self {
            status: stored.status.as_u16(),
            body_bytes: stored.body_length,
            parts: stored.parts.as_ref().map(|parts| PartsContent {
                ranges: texts_of(parts.spans()),
                complete_bytes: parts.complete_length(),
            }),
            age_seconds: stored.age.as_secs_f64(),
            lifetime_seconds: stored.lifetime.as_ref().map(Duration::as_secs_f64),
            time_left_seconds: stored.time_left().as_ref().map(Duration::as_secs_f64),
            lifetime_rule: stored.lifetime_rule.as_str(),
            stale_while_revalidate_seconds: stored.staleness.while_revalidate.as_secs_f64(),
            stale_if_error_seconds: stored.staleness.if_error.as_secs_f64(),
            stale_if_unreachable_seconds: stored.staleness.if_unreachable.as_secs_f64(),
            etag: etag.map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned()),
            groups: stored.groups,
            is_selected: stored.is_selected,
        }
    }
}
