//! The bodies of answers: in frames of any size, empty ones among them, at any pace, with trailers,
//! broken off, or never ending.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response as HttpResponse};
use http_body_util::BodyExt;

use super::{Known, Open};
use crate::support::origin::{OriginBody, Response};
use crate::support::trickle::{Step, Trickle};

/// What becomes of a body, and whether its length is known beforehand.
enum End {
    Clean,
    Broken,
    Silent,
}

impl Known {
    /// An answer with this head and content. Its length may be said, or not.
    pub(super) fn with_body(&self, mut head: HttpResponse<()>, content: Bytes) -> Response {
        let length = content.len();
        if self.luck.chance(60) {
            head.headers_mut().insert("content-length", length.into());
        }
        let (body, _) = self.body(content);
        head.map(|()| body)
    }

    /// An answer whose `Content-Length` is not that of its content.
    pub(super) fn with_wrong_length(&self, mut head: HttpResponse<()>, content: Bytes) -> Response {
        let length = content.len();
        let lengths = [length + 7, length * 2 + 1, length / 2, 0];
        // That of an empty one is right.
        let wrong = match self.luck.pick(&lengths) {
            right if right == length => length + 7,
            wrong => wrong,
        };
        head.headers_mut().insert("content-length", wrong.into());
        self.database.fails();
        head.map(|()| self.frames(content, End::Clean, None))
    }

    fn body(&self, content: Bytes) -> (OriginBody, bool) {
        let end = if self.chance(self.plan.breaks) {
            self.database.fails();
            End::Broken
        } else if self.plan.has_silence && self.chance(4) {
            self.database.fails();
            End::Silent
        } else {
            End::Clean
        };
        let is_clean = matches!(end, End::Clean);
        let hint = (is_clean && self.luck.chance(50)).then_some(content.len() as u64);
        (self.frames(content, end, hint), is_clean)
    }

    fn frames(&self, mut content: Bytes, end: End, hint: Option<u64>) -> OriginBody {
        let mut steps = VecDeque::new();
        // A body that is not clean breaks off at any point.
        let mut left = match end {
            End::Clean => usize::MAX,
            End::Broken | End::Silent => self.luck.below(content.len() as u64 + 1) as usize,
        };
        while !content.is_empty() && left > 0 {
            let size = self.luck.pick(&[0, 1, 16, 100, 5_000, 200_000]);
            let frame = content.split_to(size.min(content.len()).min(left));
            left -= frame.len();
            steps.push_back((self.wait(), Step::Data(frame)));
        }
        match end {
            End::Broken => steps.push_back((self.wait(), Step::Error)),
            End::Silent => steps.push_back((self.wait(), Step::Silence)),
            End::Clean if self.luck.chance(10) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-trailer", "after".parse().expect("a field value"));
                steps.push_back((self.wait(), Step::Trailers(trailers)));
            }
            End::Clean => {}
        }
        let open = Open::new(&self.open);
        let body = Trickle::new(steps, hint);
        let counted = body.map_err(move |error| {
            let _counted = &open;
            error
        });
        counted.boxed_unsync()
    }

    fn wait(&self) -> Duration {
        match self.chance(10) {
            true => Duration::from_millis(self.luck.pick(&[1, 10, 500])),
            false => Duration::ZERO,
        }
    }
}
