//! An error with its causes, as one line of text.

use std::error::Error;
use std::fmt;

/// Writes an error and its causes, the outermost first, with colons between them.
///
/// Log lines name errors by this: a subscriber that writes JSON shows the text of an error alone,
/// without its sources.
pub(crate) struct WithCauses<'e>(pub(crate) &'e (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        causes(self.0)
            .skip(1)
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// An error and its sources, the outermost first.
pub(crate) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendError;

    #[test]
    fn an_error_is_written_with_all_of_its_causes() {
        let reset = std::io::Error::other("connection reset");
        let error = BackendError::new(reset);
        let text = WithCauses(&error).to_string();
        assert_eq!(text, format!("{error}: connection reset"));
    }
}
