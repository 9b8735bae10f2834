//! The options of compression.

use std::sync::Arc;

use crate::semantics::content_coding::{Coding, CodingLimits};

/// The codings that are made of stored responses, and of which.
#[derive(Clone, Debug)]
pub(crate) struct CompressOptions {
    /// In the order of preference. Without any, nothing is coded.
    pub(crate) codings: Arc<[Coding]>,
    pub(crate) limits: CodingLimits,
}

impl Default for CompressOptions {
    fn default() -> Self {
        Self {
            codings: Arc::from([]),
            limits: CodingLimits {
                min_body: 1024,
                max_body: 8 * 1024 * 1024,
            },
        }
    }
}

impl CompressOptions {
    /// Whether anything is coded. Without the feature that is known when this is compiled.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        cfg!(feature = "compress") && !self.codings.is_empty()
    }
}
