//! Values of flags: how they are read and shown, `60s`, `64MiB`.

use std::time::Duration;

use clap::ValueEnum;

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

/// Formats a duration as [`duration`] parses it: `60s`, `10m`.
#[allow(dead_code, reason = "not every example shows one")]
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // `60s` is easier to compare with `90s` than `1m`.
    show(millis, DURATIONS, |count, factor| {
        factor <= 1000 || count >= 10
    })
}

/// Formats a size in bytes as [`size`] parses it: `64MiB`.
#[allow(dead_code, reason = "not every example shows one")]
pub fn show_size(bytes: u64) -> String {
    show(bytes, SIZES, |_, _| true)
}

/// Returns the name of a value as its flag has it.
#[allow(dead_code, reason = "not every example shows one")]
pub fn show_name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Formats a number with the largest suitable unit that leaves no fraction.
fn show(number: u64, units: &[(&str, u64)], is_suitable: impl Fn(u64, u64) -> bool) -> String {
    let fits = |factor: u64| {
        let count = number / factor;
        count > 0 && number.is_multiple_of(factor) && is_suitable(count, factor)
    };
    let largest = units.iter().rev().find(|(_, factor)| fits(*factor));
    let (unit, factor) = largest.unwrap_or(&units[0]);
    format!("{}{unit}", number / factor)
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
