//! Dialogues, and how they are held.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use tower_response_cache::CacheLayer;

use crate::client::{Answer, Client};
use crate::server::{AnyBackend, Protocol, Server, backends};

pub type Layer = CacheLayer<AnyBackend>;

/// A dialogue with a cache of its own.
pub struct Case {
    name: &'static str,
    layer: fn(Layer) -> Layer,
    steps: Vec<Step>,
}

pub fn case(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Case {
    Case {
        name,
        layer: |layer| layer,
        steps: steps.into_iter().collect(),
    }
}

impl Case {
    /// A case with options of the layer.
    pub fn layer(mut self, layer: fn(Layer) -> Layer) -> Self {
        self.layer = layer;
        self
    }
}

/// What the origin says when it is asked.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub lines: Vec<(&'static str, &'static str)>,
    pub body: &'static str,
    pub trailer: Option<(&'static str, &'static str)>,
}

pub fn reply(status: u16, body: &'static str) -> Reply {
    Reply {
        status,
        lines: Vec::new(),
        body,
        trailer: None,
    }
}

/// 200 that stays fresh for a minute.
pub fn minute(body: &'static str) -> Reply {
    reply(200, body).with("cache-control", "max-age=60")
}

/// An answer that is already a minute old.
pub fn stale(body: &'static str) -> Reply {
    minute(body).with("age", "60")
}

impl Reply {
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.lines.push((name, value));
        self
    }

    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailer = Some((name, value));
        self
    }
}

/// A request, the origin's part in its answer, and what its client sees.
pub struct Step {
    method: Method,
    target: &'static str,
    lines: Vec<(&'static str, &'static str)>,
    body: &'static str,
    origin: Vec<Reply>,
    asked: Vec<(&'static str, Option<&'static str>)>,
    status: u16,
    sees: &'static str,
    fields: Vec<(&'static str, Option<&'static str>)>,
    trailer: Option<(&'static str, &'static str)>,
    told: Option<&'static str>,
}

pub fn send(method: &str, target: &'static str) -> Step {
    Step {
        method: method.parse().expect("a method"),
        target,
        lines: Vec::new(),
        body: "",
        origin: Vec::new(),
        asked: Vec::new(),
        status: 200,
        sees: "",
        fields: Vec::new(),
        trailer: None,
        told: None,
    }
}

pub fn get(target: &'static str) -> Step {
    send("GET", target)
}

impl Step {
    /// With a header line.
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.lines.push((name, value));
        self
    }

    /// With content.
    pub fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    /// The origin is asked, and answers. Without this it is not asked; given twice, it is asked
    /// twice.
    pub fn origin(mut self, reply: Reply) -> Self {
        self.origin.push(reply);
        self
    }

    /// The origin is asked, first, with this field.
    pub fn asked(mut self, name: &'static str, value: &'static str) -> Self {
        self.asked.push((name, Some(value)));
        self
    }

    /// The origin is asked without this field.
    pub fn not_asked(mut self, name: &'static str) -> Self {
        self.asked.push((name, None));
        self
    }

    pub fn sees(mut self, status: u16, body: &'static str) -> Self {
        (self.status, self.sees) = (status, body);
        self
    }

    pub fn having(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, Some(value)));
        self
    }

    pub fn lacking(mut self, name: &'static str) -> Self {
        self.fields.push((name, None));
        self
    }

    pub fn trailing(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailer = Some((name, value));
        self
    }

    /// All of `Cache-Status`.
    pub fn told(mut self, told: &'static str) -> Self {
        self.told = Some(told);
        self
    }

    pub fn request(&self) -> Request<Bytes> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.target);
        for (name, value) in &self.lines {
            request = request.header(*name, *value);
        }
        let body = Bytes::from_static(self.body.as_bytes());
        request.body(body).expect("a request")
    }
}

/// Holds each dialogue in each world.
pub async fn hold(cases: impl IntoIterator<Item = Case>) {
    let backends = backends().await;
    for case in cases {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for backend in &backends {
                let world = format!("{}, {protocol:?}, {}", case.name, backend.name);
                let layer = (case.layer)(CacheLayer::new(backend.new_one()));
                let server = Server::start(layer).await;
                let mut client = Client::to(server.port, protocol).await;
                for (number, step) in case.steps.iter().enumerate() {
                    let step_name = format!("{world}: step {}", number + 1);
                    say(&server, &mut client, step, &step_name).await;
                }
            }
        }
    }
}

async fn say(server: &Server, client: &mut Client, step: &Step, name: &str) {
    let stores = server.handle.stats().stores;
    server.script(step.origin.clone());
    let answer = client.ask(step.request()).await;
    sees(&answer, step, name);
    let is_stored = step.told.is_some_and(|told| told.contains("; stored"));
    if is_stored {
        server.until(name, |stats| stats.stores > stores).await;
    }
    server.until(name, |stats| stats.in_flight.tasks == 0).await;
    let asked = server.asked();
    assert_eq!(asked.len(), step.origin.len(), "{name}: the origin's calls");
    for (field, expected) in &step.asked {
        assert_eq!(
            value(&asked[0], field).as_deref(),
            *expected,
            "{name}: asked with {field}"
        );
    }
}

fn sees(answer: &Answer, step: &Step, name: &str) {
    let told = value(&answer.headers, "cache-status").unwrap_or_default();
    let expected = StatusCode::from_u16(step.status).expect("a status");
    assert_eq!(answer.status, expected, "{name}: {told}");
    assert_eq!(answer.body, step.sees, "{name}: {told}");
    for (field, expected) in &step.fields {
        let got = value(&answer.headers, field);
        assert_eq!(got.as_deref(), *expected, "{name}: {field}");
    }
    let trailer = step.trailer.map(|(field, value)| (field, value.to_owned()));
    let got = step
        .trailer
        .and_then(|(field, _)| Some((field, value(answer.trailers.as_ref()?, field)?)));
    assert_eq!(got, trailer, "{name}: trailers");
    if let Some(expected) = step.told {
        let told = told.replace("tower-response-cache; ", "");
        assert_eq!(told, expected, "{name}");
    }
}

/// All lines of a field.
fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
