//! Errors of options, as logs and terminals show them: without user names and passwords of URLs.

use std::fmt::Display;
use std::process::ExitCode;

/// Prints the error with which a program ends.
pub fn fail(error: impl Display) -> ExitCode {
    eprintln!("error: {}", public_text(error));
    ExitCode::FAILURE
}

/// The text of an error without what stands before an `@` in URLs. It may quote a flag, or a line of
/// a file that is not even valid.
pub fn public_text(error: impl Display) -> String {
    let text = error.to_string();
    text.split_inclusive('\n').map(public_line).collect()
}

fn public_line(line: &str) -> String {
    let ends = url_starts(line).chain([line.len()]);
    let mut begin = 0;
    let parts = ends.map(|end| {
        let part = &line[begin..end];
        begin = end;
        part
    });
    parts.map(public_part).collect()
}

/// Where URLs begin. `://` may also stand in a password.
fn url_starts(line: &str) -> impl Iterator<Item = usize> {
    line.match_indices("://").filter_map(|(at, _)| {
        let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let before = line[..at].trim_end_matches(is_of_scheme);
        let is_start = before.is_empty() || before.ends_with(is_delimiter);
        is_start.then_some(before.len())
    })
}

/// Text with one URL at its begin, or with none that has a scheme.
fn public_part(part: &str) -> String {
    let is_url = url_starts(part).next() == Some(0);
    let Some((scheme, rest)) = part.split_once("://").filter(|_| is_url) else {
        return part
            .split_inclusive(is_delimiter)
            .map(public_word)
            .collect();
    };
    // A password has any characters, quotes and spaces included. Advice may end with a lone `@`.
    let secret = rest.trim_end().strip_suffix(" @").unwrap_or(rest);
    match secret.rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => part.to_owned(),
    }
}

/// A word, which may be a URL whose scheme was left out.
fn public_word(word: &str) -> String {
    match word.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("…@{host}"),
        _ => word.to_owned(),
    }
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || "\"'`=,[(<".contains(c)
}
