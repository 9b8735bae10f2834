//! The names of hosts, the spellings of paths and the forms of requests that mean one resource.
//!
//! A resource is the path alone, in normal form, whatever the authority. A response belongs to one
//! authority and to the path as it was sent: it is never shared between two hosts.

use http::header::HOST;
use http::{Method, Request, Version};

use super::luck::Luck;

/// The host of worlds where everything has one name.
pub const ONE_HOST: &str = "test.example";

/// The hosts of the other worlds.
const HOSTS: [&str; 3] = [ONE_HOST, "127.0.0.1:8080", "localhost"];

/// A request for a path, in any form and under any name. Half of them have the same one.
pub fn any_request(luck: &Luck, method: Method, path: &str) -> Request<()> {
    if luck.chance(50) {
        return plain_request(method, path);
    }
    let path = any_spelling(luck, path);
    let host = luck.pick(&HOSTS);
    let (uri, field, version) = match luck.below(8) {
        0 => (path, None, Version::HTTP_10),
        1 => (format!("http://{host}{path}"), Some(host), Version::HTTP_11),
        2 => {
            // The target wins (RFC 9112 §3.2.2).
            let other = luck.pick(&HOSTS);
            (
                format!("http://{host}{path}"),
                Some(other),
                Version::HTTP_11,
            )
        }
        3 => (format!("http://{host}{path}"), None, Version::HTTP_2),
        4 => (format!("https://{host}{path}"), None, Version::HTTP_2),
        _ => (path, Some(host), Version::HTTP_11),
    };
    let mut request = Request::builder().method(method).uri(uri).version(version);
    if let Some(host) = field {
        request = request.header(HOST, any_case(luck, host));
    }
    request.body(()).expect("a request")
}

/// A request for a path on the one host.
pub fn plain_request(method: Method, path: &str) -> Request<()> {
    super::request(method, path)
}

/// A host in other letters, with the root's dot, or with the default port.
fn any_case(luck: &Luck, host: &str) -> String {
    match luck.below(6) {
        0 => host.to_ascii_uppercase(),
        1 if !host.contains(':') => format!("{host}:80"),
        2 if !host.contains(':') => format!("{host}."),
        _ => host.to_owned(),
    }
}

fn any_spelling(luck: &Luck, path: &str) -> String {
    match luck.below(10) {
        0 => format!("/{path}"),
        1 => format!("/a/..{path}"),
        2 => format!("/.{path}"),
        3 => format!("/a/%2e%2E{path}"),
        4 | 5 => {
            let (first, rest) = path[1..].split_at(1);
            let octet = first.as_bytes()[0];
            match luck.below(2) {
                0 => format!("/%{octet:02x}{rest}"),
                _ => format!("/%{octet:02X}{rest}"),
            }
        }
        _ => path.to_owned(),
    }
}

/// The authority of a request in normal form; empty if it has none.
pub fn authority_of(request: &Request<()>) -> String {
    let field = request.headers().get(HOST);
    let field = field.and_then(|host| host.to_str().ok());
    let named = request.uri().authority().map(|named| named.as_str());
    let named = named.or(field).unwrap_or_default().to_ascii_lowercase();
    let is_https = request.uri().scheme_str() == Some("https");
    let default_port = if is_https { ":443" } else { ":80" };
    let named = named.strip_suffix(default_port).unwrap_or(&named);
    named.strip_suffix('.').unwrap_or(named).to_owned()
}

/// A path in normal form, as far as its spellings above differ.
pub fn normal_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match &*decoded(segment) {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other.to_owned()),
        }
    }
    format!("/{}", segments.join("/"))
}

/// A segment without percent-encodings, all of which are of unreserved characters here.
fn decoded(segment: &str) -> String {
    let mut parts = segment.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        let octet = u8::from_str_radix(digits, 16).expect("two digits");
        decoded.push(char::from(octet));
        decoded.push_str(rest);
    }
    decoded
}
