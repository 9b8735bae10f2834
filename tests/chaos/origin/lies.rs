//! Answers against the rules: unsolicited parts and statuses, wrong ranges, lengths and tags.

use bytes::Bytes;
use http::{Method, Request, Response as HttpResponse, StatusCode};

use super::reads::Draft;
use super::{Known, LIE, REPRESENTATION};
use crate::support::origin::{Response, full};

impl Known {
    /// A lie in place of what would be right.
    pub(super) fn lie(&self, request: &Request<()>, draft: Draft) -> Response {
        let is_head = request.method() == Method::HEAD;
        match self.luck.below(5) {
            0 => self.unfounded_not_modified(draft),
            1 if !is_head => self.wrong_part(draft),
            2 if !is_head => {
                let call = draft.call;
                let (head, content) = self.marked(draft, None);
                self.database.answers(call, |call| call.is_cut = true);
                self.with_wrong_length(head, content)
            }
            _ => {
                let status = self.luck.pick(&[
                    103, 204, 226, 206, 412, 416, 417, 421, 425, 426, 428, 431, 511, 599, 999,
                ]);
                let (head, _) = self.marked(draft, Some(status));
                head.map(|()| full(""))
            }
        }
    }

    /// A 304 that may confirm nothing, or something else.
    fn unfounded_not_modified(&self, mut draft: Draft) -> Response {
        self.database.lies();
        let headers = &mut draft.headers;
        headers.remove("etag");
        headers.remove("last-modified");
        if self.luck.chance(50) {
            headers.insert("etag", "\"another\"".parse().expect("a field value"));
        }
        let mut head = HttpResponse::new(());
        *head.status_mut() = StatusCode::NOT_MODIFIED;
        *head.headers_mut() = draft.headers;
        head.map(|()| full(""))
    }

    /// An unsolicited 206, whose `Content-Range` may be wrong.
    fn wrong_part(&self, draft: Draft) -> Response {
        let length = draft.representation.length() as u64;
        let call = draft.call;
        let (mut head, content) = self.marked(draft, Some(206));
        let start = self.luck.below(length + 1);
        let end = start + self.luck.below(length - start + 1);
        self.database
            .answers(call, |call| call.is_lone_part = end - start < length);
        let field = match self.luck.below(6) {
            0 => format!("bytes {start}-{}/{}", end.max(start + 1) - 1, length + 3),
            1 => format!("bytes {}-{}/{length}", start + 1, end),
            2 => format!("bytes {end}-{start}/{length}"),
            3 => "bytes x-y/z".to_owned(),
            4 => format!("bytes {start}-{end}/*"),
            _ => format!("bytes {start}-{}/{length}", end.saturating_sub(1)),
        };
        if self.luck.chance(90) {
            let field = field.parse().expect("a field value");
            head.headers_mut().insert("content-range", field);
        }
        self.with_body(head, content.slice(start as usize..end as usize))
    }

    /// The head of a lie, with a tag that nothing else has, and the right content.
    fn marked(&self, draft: Draft, status: Option<u16>) -> (HttpResponse<()>, Bytes) {
        let mut head = HttpResponse::new(());
        *head.headers_mut() = draft.headers;
        let status = status.unwrap_or(draft.representation.status);
        self.set_status(&mut head, draft.call, status);
        self.database.answers(draft.call, |call| {
            call.is_for_one = draft.is_for_one;
            call.is_lie = true;
        });
        let headers = head.headers_mut();
        headers.insert(LIE, 1.into());
        headers.remove("etag");
        headers.remove("last-modified");
        headers.remove(REPRESENTATION);
        if self.luck.chance(70) {
            let tag = format!("\"lie{}\"", draft.call);
            headers.insert("etag", tag.parse().expect("a field value"));
        }
        let content = draft.representation.content.clone();
        (head, content)
    }
}
