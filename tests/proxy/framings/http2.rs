//! Requests of HTTP/2 that HTTP/1.1 would read in another way (RFC 9113 §§8.1.1, 8.2, 8.3, 10.3).

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::origins::{Pair, numbered};
use crate::http2_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, RST_STREAM, SETTINGS, frame, literal,
};
use crate::raw::connect_from;

/// What becomes of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Forwarded,
    Rejected,
    /// The request breaks off within its content. The origin may see it, but nothing else.
    Broken,
}

use Outcome::{Broken, Forwarded, Rejected};

type Fields = Vec<(&'static str, &'static str)>;

/// The fields of a request to `/saw/first`, with more of them, or others in their place.
fn fields(method: &'static str, others: &[(&'static str, &'static str)]) -> Fields {
    let mut all = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "test.example"),
        (":path", "/saw/first"),
    ];
    for (name, value) in others {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => all.push((name, value)),
        }
    }
    all
}

fn get(others: &[(&'static str, &'static str)]) -> (Fields, Option<&'static str>) {
    (fields("GET", others), None)
}

fn post(
    others: &[(&'static str, &'static str)],
    content: &'static str,
) -> (Fields, Option<&'static str>) {
    (fields("POST", others), Some(content))
}

const SMUGGLED: &str = "/saw/first HTTP/1.1\r\nhost: a\r\n\r\nGET /saw/smuggled";

type Case = (&'static str, (Fields, Option<&'static str>), Outcome);

fn targets() -> Vec<Case> {
    let mut twice = fields("GET", &[]);
    twice.push((":path", "/saw/other"));
    let mut late = vec![("x", "y")];
    late.extend(fields("GET", &[]));
    vec![
        ("plain", get(&[]), Forwarded),
        ("CRLF in the path", get(&[(":path", SMUGGLED)]), Rejected),
        (
            "LF in the path",
            get(&[(":path", "/saw/first\nx: y")]),
            Rejected,
        ),
        (
            "space in the path",
            get(&[(":path", "/saw/first HTTP/1.1")]),
            Rejected,
        ),
        ("empty path", get(&[(":path", "")]), Rejected),
        (
            "path without slash",
            get(&[(":path", "saw/first")]),
            Rejected,
        ),
        (
            "path of another form",
            get(&[(":path", "http://a/saw/first")]),
            Rejected,
        ),
        ("path *", get(&[(":path", "*")]), Rejected),
        ("two paths", (twice, None), Rejected),
        (
            "CRLF in the method",
            get(&[(":method", "GET / HTTP/1.1\r\nx:")]),
            Rejected,
        ),
        (
            "space in the method",
            get(&[(":method", "GET /saw/smuggled")]),
            Rejected,
        ),
        (
            "CRLF in the host",
            get(&[(":authority", "a\r\nx: y")]),
            Rejected,
        ),
        (
            "host with path",
            get(&[(":authority", "test.example/saw")]),
            Rejected,
        ),
        (
            "host with user",
            get(&[(":authority", "a@test.example")]),
            Rejected,
        ),
        (
            "CRLF in the scheme",
            get(&[(":scheme", "http\r\nx: y")]),
            Rejected,
        ),
        ("another scheme", get(&[(":scheme", "ftp")]), Rejected),
        ("late pseudo-field", (late, None), Rejected),
        ("unknown pseudo-field", get(&[(":x", "y")]), Rejected),
    ]
}

fn lines() -> Vec<Case> {
    vec![
        (
            "CRLF in a value",
            get(&[("x", "y\r\ncontent-length: 5")]),
            Rejected,
        ),
        ("LF in a value", get(&[("x", "y\nz: a")]), Rejected),
        ("CR in a value", get(&[("x", "y\rz: a")]), Rejected),
        ("NUL in a value", get(&[("x", "y\0z")]), Rejected),
        (
            "CRLF in a cookie",
            get(&[("cookie", "a=b\r\nx: y")]),
            Rejected,
        ),
        ("CRLF in a name", get(&[("x\r\ny", "z")]), Rejected),
        ("colon in a name", get(&[("x:y", "z")]), Rejected),
        ("space in a name", get(&[("x y", "z")]), Rejected),
        ("upper case in a name", get(&[("X", "y")]), Rejected),
        ("empty name", get(&[("", "y")]), Rejected),
        (
            "coding",
            post(&[("transfer-encoding", "chunked")], "0\r\n\r\n"),
            Rejected,
        ),
        (
            "connection",
            get(&[("connection", "content-length")]),
            Rejected,
        ),
        ("upgrade", get(&[("upgrade", "websocket")]), Rejected),
        ("TE", get(&[("te", "chunked")]), Rejected),
        ("TE trailers", get(&[("te", "trailers")]), Forwarded),
    ]
}

fn contents() -> Vec<Case> {
    let hidden = "GET /saw/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    vec![
        ("content", post(&[], "HELLO"), Forwarded),
        ("hidden request", post(&[], hidden), Forwarded),
        (
            "hidden request of GET",
            (fields("GET", &[]), Some(hidden)),
            Forwarded,
        ),
        (
            "length",
            post(&[("content-length", "5")], "HELLO"),
            Forwarded,
        ),
        (
            "length of nothing",
            get(&[("content-length", "5")]),
            Rejected,
        ),
        (
            "length too long",
            post(&[("content-length", "50")], "HELLO"),
            Broken,
        ),
        (
            "length too short",
            post(&[("content-length", "3")], "HELLO"),
            Broken,
        ),
        ("length 0", post(&[("content-length", "0")], hidden), Broken),
        (
            "length +",
            post(&[("content-length", "+5")], "HELLO"),
            Rejected,
        ),
        (
            "length list",
            post(&[("content-length", "5, 5")], "HELLO"),
            Rejected,
        ),
        (
            "length 2^64",
            post(&[("content-length", "18446744073709551616")], "HELLO"),
            Rejected,
        ),
    ]
}

/// Sends the request of a case and another one after it. Returns the streams that an origin has
/// answered.
async fn exchange(port: u16, case: usize, request: &Fields, content: Option<&str>) -> Vec<u32> {
    let mut stream = connect_from("127.0.0.1", port).await;
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    said.extend(frame(SETTINGS, 0, 0, b""));
    let next = fields("GET", &[(":path", "/saw/next")]);
    for (number, fields, content) in [(1, request, content), (3, &next, None)] {
        let mut block = Vec::new();
        for (name, value) in fields {
            literal(&mut block, name, &numbered(value, case));
        }
        let end = if content.is_none() { END_STREAM } else { 0 };
        said.extend(frame(HEADERS, END_HEADERS | end, number, &block));
        if let Some(content) = content {
            said.extend(frame(DATA, END_STREAM, number, content.as_bytes()));
        }
    }
    stream.write_all(&said).await.expect("it listens");
    let mut answered = Vec::new();
    let all = read_responses(&mut stream, &mut answered);
    // An error of the connection ends it.
    let _ = timeout(Duration::from_secs(10), all).await.expect("an end");
    answered
}

async fn read_responses(stream: &mut TcpStream, answered: &mut Vec<u32>) -> std::io::Result<()> {
    let mut ended = Vec::new();
    while !(ended.contains(&1) && ended.contains(&3)) {
        let received = Frame::read(stream).await?;
        let (kind, number) = (received.kind, received.stream);
        match kind {
            SETTINGS if received.flags == 0 => {
                stream.write_all(&frame(SETTINGS, ACK, 0, b"")).await?;
            }
            // 0x88 is `:status: 200`, before it may be a change of the table's size.
            HEADERS if received.payload.iter().take(2).any(|byte| *byte == 0x88) => {
                answered.push(number);
            }
            _ => {}
        }
        let is_end = [HEADERS, DATA].contains(&kind) && received.flags & END_STREAM != 0;
        if is_end || kind == RST_STREAM {
            ended.push(number);
        }
    }
    Ok(())
}

#[tokio::test]
async fn origins_read_requests_of_http_2_as_the_proxy_does() {
    let cases = [targets(), lines(), contents()].concat();
    let mut wrong = Vec::new();
    for pair in Pair::both("framings-http2").await {
        let mut answers = Vec::new();
        for (number, (case, (request, content), _)) in cases.iter().enumerate() {
            answers.push(exchange(pair.proxy.port(), number, request, *content).await);
            pair.assert_next_client_is_answered(case, number).await;
        }
        let (seen, others) = pair.seen_of(cases.len()).await;
        if !others.is_empty() {
            wrong.push(format!("{}: seen of no case {others:?}", pair.name));
        }
        for (((case, _, outcome), answered), seen) in cases.iter().zip(&answers).zip(&seen) {
            let first = seen.iter().filter(|line| line.contains("/first-"));
            let (first, next) = (first.count(), answered.contains(&3));
            let is_as_expected = match outcome {
                Forwarded => first == 1 && answered.contains(&1) && next,
                Rejected => first == 0 && !answered.contains(&1),
                Broken => first <= 1 && !answered.contains(&1),
            };
            if !is_as_expected || seen.len() > first + 1 {
                let name = pair.name;
                wrong.push(format!(
                    "{name} {case}: expected {outcome:?}; answered {answered:?}, seen {seen:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
