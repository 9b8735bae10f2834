//! What the benchmarks ask for.

use http::header::{self, HeaderValue};
use http::{Request, Uri};

/// The path of a key: 45 bytes.
pub fn uri(number: usize) -> Uri {
    let text = format!("/products/{number:08}-4c1b-9d70-00c04fd430c8");
    text.parse().expect("a path")
}

/// A request as a small client sends it.
pub fn request<B>(uri: Uri, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    for (name, value) in [
        (header::HOST, "shop.example:3000"),
        (header::USER_AGENT, "bench/1.0 (a client of some kind)"),
        (header::ACCEPT, "application/json"),
        (header::ACCEPT_ENCODING, "gzip, deflate, br"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    request
}

/// A sequence of keys by Zipf's law, equal in every run. Ranks are scattered over the keys.
pub fn zipf_picks(keys: usize, exponent: f64, count: usize) -> Vec<usize> {
    let mut total = 0.0;
    let sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            total += (rank as f64).powf(-exponent);
            total
        })
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = sums.partition_point(|sum| *sum < uniform * total);
        rank.min(keys - 1) * 7919 % keys
    };
    (0..count).map(|_| draw()).collect()
}
