//! Requests from a seed, drawn from a space so small that many of two mean the same thing and are
//! spelled in different ways.

use http::{Method, Request, Version};
use tower_response_cache::random::{Random, SeededRandom};

/// The fields that requests may have, and that the proxy adds.
pub const FIELDS: [&str; 17] = [
    "accept-encoding",
    "accept-language",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "te",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x_forwarded_host",
    "x-hop",
    "x-own",
];

const HOSTS: [&str; 12] = [
    "site.test",
    "SITE.test",
    "site.test.",
    "site.test:80",
    "site.test:080",
    "site.test:443",
    "site.test:81",
    "Site.test.:0081",
    "site%2Etest",
    "other.test",
    "not a host",
    "",
];

const PATHS: [&str; 9] = [
    "/d",
    "/d",
    "/d?a=1",
    "/d?a=1&utm_x=2",
    "/d?utm_x=2",
    "/%64",
    "//d",
    "/./d",
    "/d?",
];

const LINES: [(&str, &str); 24] = [
    ("accept-encoding", "gzip, br"),
    ("accept-encoding", "br,gzip"),
    ("accept-language", "de, en;q=0.5"),
    ("accept-language", "en;q=0.500,DE"),
    ("accept-language", "de"),
    ("connection", "x-hop, accept-language"),
    ("connection", "cookie, x-own, close"),
    ("connection", "host, te"),
    ("cookie", "a=1; b=2"),
    ("cookie", "a=1, b=2"),
    ("cookie", "a=1"),
    ("cookie", "b=2"),
    ("expect", "100-continue"),
    ("forwarded", "for=1.2.3.4"),
    ("keep-alive", "timeout=5"),
    ("origin", "http://a.test"),
    ("proxy-authorization", "Basic eA=="),
    ("te", "trailers, gzip"),
    ("via", "1.1 outer"),
    ("x-forwarded-host", "evil.test"),
    ("x_forwarded_host", "evil.test"),
    ("x-hop", "1"),
    ("x-own", "1"),
    ("x-own", "2"),
];

/// A request before it is built.
#[derive(Clone, Debug)]
pub struct Spelling {
    version: Version,
    method: Method,
    scheme: &'static str,
    authority: &'static str,
    path: &'static str,
    hosts: Vec<&'static str>,
    lines: Vec<(&'static str, &'static str)>,
    /// Whether it has content.
    pub has_content: bool,
}

/// A source of choices.
pub struct Choices(SeededRandom);

impl Choices {
    pub fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.0.next_u64() % bound as u64).expect("a small number")
    }

    fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Any request.
    pub fn spelling(&self) -> Spelling {
        let mut spelling = Spelling {
            version: Version::HTTP_11,
            method: Method::GET,
            scheme: "",
            authority: "site.test",
            path: "/d",
            hosts: vec!["site.test"],
            lines: Vec::new(),
            has_content: false,
        };
        for _ in 0..4 {
            self.change(&mut spelling);
        }
        spelling
    }

    /// A request like another, spelled or meant a little differently.
    pub fn variation(&self, spelling: &Spelling) -> Spelling {
        let mut other = spelling.clone();
        for _ in 0..=self.below(3) {
            self.change(&mut other);
        }
        other
    }

    fn change(&self, spelling: &mut Spelling) {
        match self.below(10) {
            0 => {
                let versions = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
                spelling.version = self.pick(&versions);
            }
            1 => spelling.method = self.pick(&[Method::GET, Method::GET, Method::HEAD]),
            2 | 3 => {
                spelling.scheme = self.pick(&["", "http", "https", "ftp"]);
                spelling.authority = self.pick(&HOSTS);
            }
            4 | 5 => {
                let host = self.pick(&HOSTS);
                spelling.hosts = match self.below(12) {
                    0 => Vec::new(),
                    1 => vec![host, "site.test"],
                    _ => vec![host],
                };
            }
            6 => spelling.path = self.pick(&PATHS),
            7 => spelling.has_content = self.chance(20),
            8 if !spelling.lines.is_empty() => {
                let at = self.below(spelling.lines.len());
                spelling.lines.remove(at);
            }
            _ => spelling.lines.push(self.pick(&LINES)),
        }
    }
}

impl Spelling {
    /// The request; `None` if its target cannot be spelled so.
    pub fn build<B>(&self, body: B) -> Option<Request<B>> {
        let target = match self.scheme {
            "" => self.path.to_owned(),
            scheme => format!("{scheme}://{}{}", self.authority, self.path),
        };
        let builder = Request::builder()
            .method(&self.method)
            .version(self.version);
        let mut builder = builder.uri(target);
        for host in &self.hosts {
            builder = builder.header("host", *host);
        }
        for (name, value) in &self.lines {
            builder = builder.header(*name, *value);
        }
        builder.body(body).ok()
    }
}

/// The meaning of a field's lines: those of `Cookie` are one sequence, of all others one list; the
/// order counts in no list of `Accept-Encoding`.
pub fn meaning(name: &str, lines: &[String]) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let lower = |text: String| text.to_ascii_lowercase().replace("0.500", "0.5");
    Some(match name {
        "cookie" => lines.join("; "),
        "accept-encoding" | "accept-language" => {
            let joined = lower(lines.join(","));
            let mut members: Vec<&str> = joined.split(',').map(str::trim).collect();
            members.sort_unstable();
            members.dedup();
            members.join(", ")
        }
        _ => lines.join(", "),
    })
}
