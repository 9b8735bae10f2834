//! Values of flags with a unit: `60s`, `64MiB`.

use std::time::Duration;

const DURATIONS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
];

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Parses a duration: a whole number with one of the units ms, s, m, h, d.
pub fn duration(text: &str) -> Result<Duration, String> {
    quantity(text, DURATIONS).map(Duration::from_millis)
}

/// Parses a size in bytes: a whole number with one of the units B, KiB, MiB, GiB.
pub fn size(text: &str) -> Result<u64, String> {
    quantity(text, SIZES)
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let expected = || {
        let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
        format!("a whole number with one of the units {}", names.join(", "))
    };
    let factor = units.iter().find(|(name, _)| *name == unit);
    let (Some((_, factor)), false) = (factor, number.is_empty()) else {
        return Err(format!("expected {}", expected()));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| format!("too large; expected {}", expected()))
}

/// Parses a whole number of at least 1.
#[allow(dead_code, reason = "not every example has such a flag")]
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".to_owned()),
        Ok(number) => Ok(number),
    }
}
