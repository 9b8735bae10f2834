//! Field values that are small numbers, which are there already.

use http::HeaderValue;

/// The smallest number that has none.
const END: usize = 4096;

/// The digits of each number, with zeros before them.
static DIGITS: [[u8; 4]; END] = {
    let mut digits = [[b'0'; 4]; END];
    let mut number = 0;
    while number < END {
        let (mut left, mut at) = (number, 4);
        while left > 0 {
            at -= 1;
            digits[number][at] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        number += 1;
    }
    digits
};

/// Returns the value of a number below 4,096. To copy it touches no reference count.
pub(crate) fn small_number(number: u64) -> Option<HeaderValue> {
    let digits = DIGITS.get(usize::try_from(number).ok()?)?;
    let zeros = match number {
        0..10 => 3,
        10..100 => 2,
        100..1000 => 1,
        _ => 0,
    };
    let text = std::str::from_utf8(&digits[zeros..]).ok()?;
    Some(HeaderValue::from_static(text))
}

/// Returns the value that a text is, if it is that of [`small_number`].
pub(crate) fn small_number_of(text: &[u8]) -> Option<HeaderValue> {
    let is_written_so = match text {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 4 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let digit = |number: u64, byte: &u8| number * 10 + u64::from(byte - b'0');
    is_written_so
        .then(|| text.iter().fold(0, digit))
        .and_then(small_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_number_is_written_as_any_other() {
        for number in 0..END as u64 + 2 {
            let text = number.to_string();
            let written = small_number_of(text.as_bytes());
            assert_eq!(written, small_number(number));
            let expected = (number < END as u64).then_some(&*text);
            assert_eq!(
                written.as_ref().map(|it| it.to_str().expect("digits")),
                expected
            );
        }
        for text in ["", "00", "01", "-1", "+1", "1a", "12345", "4096", " 1"] {
            assert_eq!(small_number_of(text.as_bytes()), None, "{text}");
        }
    }
}
