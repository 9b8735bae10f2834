//! A field that has its place in a header map.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of a field, which in most stored responses is in this place. Looking there costs less
/// than to hash its name.
#[inline]
pub(crate) fn slot_mut<'h>(
    headers: &'h mut HeaderMap,
    place: usize,
    name: &HeaderName,
) -> Option<&'h mut HeaderValue> {
    let mut fields = headers.iter();
    match fields.nth(place).is_some_and(|(found, _)| found == name) {
        true => headers.values_mut().nth(place),
        false => headers.get_mut(name),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{AGE, RETRY_AFTER};

    use super::*;
    use crate::semantics::cache_status::CACHE_STATUS;

    #[test]
    fn a_slot_is_found_wherever_it_is_and_no_line_of_another_field_is_taken_for_it() {
        let line = HeaderValue::from_static;
        let mut headers = HeaderMap::new();
        headers.append("link", line("a"));
        headers.append("link", line("b"));
        headers.append(CACHE_STATUS, line("status"));
        headers.append(AGE, line("age"));
        for place in 0..6 {
            for (name, value) in [(&CACHE_STATUS, "status"), (&AGE, "age")] {
                let slot = slot_mut(&mut headers, place, name);
                assert_eq!(slot.map(|slot| &*slot), Some(&line(value)), "{place}");
            }
        }
        assert_eq!(slot_mut(&mut headers, 0, &RETRY_AFTER), None);
    }
}
