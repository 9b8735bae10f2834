//! The framings of HTTP/1.1 (RFC 9112 §§2.2, 3, 5, 6, 7), and what becomes of each.

/// A request that follows, or is hidden in the one before.
const NEXT: &str = "GET /saw/next HTTP/1.1\r\nhost: test.example\r\n\r\n";

/// What becomes of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The origin gets this many requests, each of which is answered.
    Forwarded(usize),
    /// The proxy answers the first request itself.
    Rejected(u16),
    /// The first request breaks off within its content, which is streamed. The origin may see it,
    /// but nothing else.
    Broken,
}

use Outcome::{Broken, Forwarded, Rejected};

/// A POST with these lines of its head, this content, and another request after it.
fn post(fields: &str, content: &str) -> Vec<u8> {
    let head = format!("POST /saw/first HTTP/1.1\r\nhost: test.example\r\n{fields}\r\n");
    [head.as_bytes(), content.as_bytes(), NEXT.as_bytes()].concat()
}

fn length(value: &str) -> Vec<u8> {
    post(&format!("content-length: {value}\r\n"), "HELLO")
}

fn coding(value: &str) -> Vec<u8> {
    post(
        &format!("transfer-encoding: {value}\r\n"),
        "5\r\nHELLO\r\n0\r\n\r\n",
    )
}

fn chunks(content: &str) -> Vec<u8> {
    post("transfer-encoding: chunked\r\n", content)
}

/// A GET with this line and these lines of its head, and another request after it.
fn get(line: &str, fields: &str) -> Vec<u8> {
    format!("{line}\r\n{fields}\r\n{NEXT}").into_bytes()
}

const GET: &str = "GET /saw/first HTTP/1.1";
const HOST: &str = "host: test.example\r\n";

fn with_field(field: &str) -> Vec<u8> {
    get(GET, &format!("{HOST}{field}\r\n"))
}

pub type Case = (&'static str, Vec<u8>, Outcome);

pub fn all() -> Vec<Case> {
    [lengths(), codings(), chunkings(), heads()].concat()
}

fn lengths() -> Vec<Case> {
    vec![
        ("length", length("5"), Forwarded(2)),
        ("length with leading zeros", length("005"), Forwarded(2)),
        ("length with spaces", length(" 5 \t"), Forwarded(2)),
        ("length +", length("+5"), Rejected(400)),
        ("length -", length("-5"), Rejected(400)),
        ("length 0x", length("0x5"), Rejected(400)),
        ("length of two numbers", length("5 5"), Rejected(400)),
        ("length with parameter", length("5;a"), Rejected(400)),
        ("length empty", length(""), Rejected(400)),
        ("length 2^64", length("18446744073709551616"), Rejected(400)),
        (
            "length 2^64 - 1",
            length("18446744073709551615"),
            Rejected(431),
        ),
        (
            "length 2^64 + 5",
            length("18446744073709551621"),
            Rejected(400),
        ),
        ("length with vertical tab", length("5\u{b}"), Rejected(400)),
        ("length in other digits", length("\u{ff15}"), Rejected(400)),
        ("length list of equals", length("5, 5"), Rejected(400)),
        ("length list", length("5, 6"), Rejected(400)),
        ("length list with zero", length("0, 5"), Rejected(400)),
        (
            "length twice",
            post("content-length: 5\r\ncontent-length: 5\r\n", "HELLO"),
            Forwarded(2),
        ),
        (
            "length twice, different",
            post("content-length: 5\r\nContent-Length: 0\r\n", "HELLO"),
            Rejected(400),
        ),
        (
            "length, space before colon",
            post("content-length : 5\r\n", "HELLO"),
            Rejected(400),
        ),
        (
            "length folded",
            post("content-length:\r\n 5\r\n", "HELLO"),
            Rejected(400),
        ),
        (
            "length, no space",
            post("content-length:5\r\n", "HELLO"),
            Forwarded(2),
        ),
        (
            "length by underscore",
            post("content_length: 5\r\n", "HELLO"),
            Forwarded(2),
        ),
        (
            "length too short",
            post("content-length: 2\r\n", "HELLO"),
            Forwarded(2),
        ),
        ("length too long", length("5000"), Broken),
        (
            "length of GET",
            get(GET, "host: test.example\r\ncontent-length: 5\r\n\r\nHELLO"),
            Forwarded(2),
        ),
        (
            "length named by Connection",
            post(
                "content-length: 5\r\nconnection: content-length\r\n",
                "HELLO",
            ),
            Forwarded(2),
        ),
        (
            "length behind NUL",
            post("x: y\0\r\ncontent-length: 5\r\n", "HELLO"),
            Rejected(400),
        ),
    ]
}

fn codings() -> Vec<Case> {
    vec![
        ("chunked", coding("chunked"), Forwarded(2)),
        ("Chunked", coding("Chunked"), Forwarded(2)),
        ("chunked with tab", coding("\tchunked \t"), Forwarded(2)),
        (
            "chunked, then length",
            post(
                "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
                "0\r\n\r\n",
            ),
            Forwarded(1),
        ),
        (
            "length, then chunked",
            post(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            Forwarded(1),
        ),
        (
            "chunked, identity",
            coding("chunked, identity"),
            Rejected(400),
        ),
        (
            "identity, chunked",
            coding("identity, chunked"),
            Rejected(501),
        ),
        ("identity", coding("identity"), Rejected(400)),
        ("gzip, chunked", coding("gzip, chunked"), Rejected(501)),
        (
            "chunked, chunked",
            coding("chunked, chunked"),
            Rejected(501),
        ),
        (
            "chunked twice",
            post(
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            Rejected(501),
        ),
        (
            "chunked, then identity line",
            post(
                "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
                "0\r\n\r\n",
            ),
            Rejected(400),
        ),
        (
            "identity line, then chunked",
            post(
                "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            Rejected(501),
        ),
        ("xchunked", coding("xchunked"), Rejected(400)),
        (
            "chunked with parameter",
            coding("chunked;q=1"),
            Rejected(400),
        ),
        ("chunked quoted", coding("\"chunked\""), Rejected(400)),
        (
            "chunked behind vertical tab",
            coding("\u{b}chunked"),
            Rejected(400),
        ),
        ("chunked before NUL", coding("chunked\0"), Rejected(400)),
        ("coding empty", coding(""), Rejected(400)),
        (
            "chunked, space before colon",
            post("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
            Rejected(400),
        ),
        (
            "chunked folded",
            post("transfer-encoding:\r\n chunked\r\n", "0\r\n\r\n"),
            Rejected(400),
        ),
        (
            "chunked folded by LF",
            post("transfer-encoding:\n chunked\r\n", "0\r\n\r\n"),
            Rejected(400),
        ),
        (
            "chunked by underscore",
            post("transfer_encoding: chunked\r\n", ""),
            Forwarded(2),
        ),
        (
            "chunked named by Connection",
            post(
                "transfer-encoding: chunked\r\nconnection: transfer-encoding\r\n",
                "5\r\nHELLO\r\n0\r\n\r\n",
            ),
            Forwarded(2),
        ),
        (
            "chunked of HTTP/1.0",
            get(
                "POST /saw/first HTTP/1.0",
                "host: test.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            ),
            Rejected(400),
        ),
        (
            "chunked after a bare CR",
            post("x: y\rtransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            Rejected(400),
        ),
        (
            "chunked after a bare LF",
            post(
                "x: y\ntransfer-encoding: chunked\r\n",
                "5\r\nHELLO\r\n0\r\n\r\n",
            ),
            Forwarded(2),
        ),
    ]
}

fn chunkings() -> Vec<Case> {
    vec![
        (
            "chunk extension",
            chunks("5;a=b\r\nHELLO\r\n0\r\n\r\n"),
            Forwarded(2),
        ),
        (
            "chunk extension with quotes",
            chunks("5;a=\"b;c\"\r\nHELLO\r\n0\r\n\r\n"),
            Forwarded(2),
        ),
        (
            "chunk extension with bare LF",
            chunks("5;a\nHELLO\r\n0\r\n\r\n"),
            Broken,
        ),
        (
            "chunk extension with bare CR",
            chunks("5;a\rb\r\nHELLO\r\n0\r\n\r\n"),
            Broken,
        ),
        (
            "chunk extension of the last",
            chunks("5\r\nHELLO\r\n0;a=b\r\n\r\n"),
            Forwarded(2),
        ),
        (
            "chunk with leading zeros",
            chunks("0005\r\nHELLO\r\n000\r\n\r\n"),
            Forwarded(2),
        ),
        (
            "chunk with spaces",
            chunks("5 \r\nHELLO\r\n0\r\n\r\n"),
            Forwarded(2),
        ),
        (
            "chunk with space before",
            chunks(" 5\r\nHELLO\r\n0\r\n\r\n"),
            Broken,
        ),
        ("chunk +", chunks("+5\r\nHELLO\r\n0\r\n\r\n"), Broken),
        ("chunk -", chunks("-5\r\nHELLO\r\n0\r\n\r\n"), Broken),
        ("chunk 0x", chunks("0x5\r\nHELLO\r\n0\r\n\r\n"), Broken),
        (
            "chunk 2^64 + 5",
            chunks("10000000000000005\r\nHELLO\r\n0\r\n\r\n"),
            Broken,
        ),
        (
            "chunk without size",
            chunks("\r\nHELLO\r\n0\r\n\r\n"),
            Broken,
        ),
        (
            "chunk size ended by LF",
            chunks("5\nHELLO\r\n0\r\n\r\n"),
            Broken,
        ),
        ("chunk ended by LF", chunks("5\r\nHELLO\n0\r\n\r\n"), Broken),
        ("chunk not ended", chunks("5\r\nHELLO0\r\n\r\n"), Broken),
        ("chunk longer", chunks("3\r\nHELLO\r\n0\r\n\r\n"), Broken),
        (
            "chunk larger than sent",
            chunks("ffff\r\nHELLO\r\n"),
            Broken,
        ),
        (
            "trailer with a length",
            chunks("5\r\nHELLO\r\n0\r\ncontent-length: 50\r\n\r\n"),
            Forwarded(2),
        ),
        (
            "trailer with a coding",
            chunks("5\r\nHELLO\r\n0\r\ntransfer-encoding: chunked\r\nhost: other\r\n\r\n"),
            Forwarded(2),
        ),
        (
            "trailer without colon",
            chunks("5\r\nHELLO\r\n0\r\nnothing\r\n\r\n"),
            Broken,
        ),
    ]
}

fn heads() -> Vec<Case> {
    vec![
        ("head", with_field("x: y"), Forwarded(2)),
        (
            "lines ended by LF",
            format!("{GET}\nhost: test.example\n\n{NEXT}").into_bytes(),
            Forwarded(2),
        ),
        (
            "empty lines before",
            format!("\r\n\r\n{GET}\r\n{HOST}\r\n{NEXT}").into_bytes(),
            Forwarded(2),
        ),
        (
            "bare CR in a value",
            with_field("x: y\rz: a"),
            Rejected(400),
        ),
        (
            "bare CR before the end",
            with_field("x: y\r\r"),
            Rejected(400),
        ),
        ("NUL in a name", with_field("x\0y: z"), Rejected(400)),
        ("folded value", with_field("x: y\r\n z"), Rejected(400)),
        (
            "folded first line",
            get(GET, " x: y\r\nhost: test.example\r\n"),
            Rejected(400),
        ),
        ("name with space", with_field("x y: z"), Rejected(400)),
        ("name empty", with_field(": y"), Rejected(400)),
        ("no colon", with_field("nothing"), Rejected(400)),
        (
            "two hosts",
            with_field("host: other.example"),
            Rejected(400),
        ),
        (
            "list of hosts",
            get(GET, "host: test.example, other.example\r\n"),
            Rejected(400),
        ),
        (
            "host with path",
            get(GET, "host: test.example/saw\r\n"),
            Rejected(400),
        ),
        (
            "absolute form",
            get(
                "GET http://test.example/saw/first HTTP/1.1",
                "host: other.example\r\n",
            ),
            Forwarded(2),
        ),
        (
            "absolute form with user",
            get("GET http://a:b@test.example/saw/first HTTP/1.1", HOST),
            Rejected(400),
        ),
        (
            "two spaces",
            get("GET  /saw/first HTTP/1.1", HOST),
            Rejected(400),
        ),
        (
            "tabs",
            get("GET\t/saw/first\tHTTP/1.1", HOST),
            Rejected(400),
        ),
        (
            "space in the target",
            get("GET /saw/ first HTTP/1.1", HOST),
            Rejected(400),
        ),
        (
            "CR in the target",
            get("GET /saw/\rfirst HTTP/1.1", HOST),
            Rejected(400),
        ),
        (
            "HTTP/1.2",
            get("GET /saw/first HTTP/1.2", HOST),
            Rejected(400),
        ),
        (
            "HTTP/2.0",
            get("GET /saw/first HTTP/2.0", HOST),
            Rejected(400),
        ),
        ("no version", get("GET /saw/first", HOST), Rejected(400)),
        (
            "method with NUL",
            get("GE\0T /saw/first HTTP/1.1", HOST),
            Rejected(400),
        ),
        (
            "upgrade to h2c",
            with_field(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA",
            ),
            Forwarded(2),
        ),
        (
            "tunnel",
            get("CONNECT test.example:80 HTTP/1.1", HOST),
            Rejected(501),
        ),
        (
            "fragment in the target",
            get("GET /saw/first#a HTTP/1.1", HOST),
            Forwarded(2),
        ),
    ]
}
