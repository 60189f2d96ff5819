//! How the admin API answers: JSON, and a refusal in words.

use crate::http::reply::{Body, Reply};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// An answer, or why there is none.
pub(super) type Answer = Result<Reply, Refused>;

/// Why something is not done.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) error: String,
    field: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Refused {
        Refused {
            status,
            error: error.into(),
            field: None,
        }
    }

    /// 400.
    pub(super) fn bad(error: impl Into<String>) -> Refused {
        Refused::new(StatusCode::BAD_REQUEST, error)
    }

    /// With the field that goes with its status.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Refused {
        self.field = Some((name, value));
        self
    }

    pub(super) fn reply(self) -> Reply {
        let mut reply = json(self.status, json!({ "error": self.error }));
        reply.fields.extend(self.field);
        reply
    }
}

/// A reply with this JSON.
pub(super) fn json(status: StatusCode, value: Value) -> Reply {
    let mut reply = text("application/json", format!("{value}\n"));
    reply.status = status;
    reply
}

/// A 200 with this text.
pub(super) fn text(content_type: &'static str, text: String) -> Reply {
    let mut reply = Reply::new(StatusCode::OK);
    reply
        .fields
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.body = Body::Bytes(Bytes::from(text));
    reply
}

/// What every answer has in common.
pub(super) fn finish(mut reply: Reply, method: &Method) -> Reply {
    let fields = &mut reply.fields;
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if *method == Method::HEAD {
        reply.without_body();
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_json_with_its_field_and_is_never_stored() {
        let refused =
            Refused::bad("so \"not\"").with(http::header::ALLOW, HeaderValue::from_static("GET"));
        let mut reply = finish(refused.reply(), &Method::GET);
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.fields["allow"], "GET");
        assert_eq!(reply.fields["content-type"], "application/json");
        assert_eq!(reply.fields["cache-control"], "no-store");
        assert_eq!(reply.fields["x-content-type-options"], "nosniff");
        let body = reply.body.next().await.unwrap().unwrap();
        assert_eq!(body, "{\"error\":\"so \\\"not\\\"\"}\n");
    }

    #[test]
    fn a_head_is_told_the_length_only() {
        let reply = finish(json(StatusCode::OK, json!({})), &Method::HEAD);
        assert_eq!(reply.length, Some(3));
        assert_eq!(reply.body.bytes_left(), Some(0));
    }
}
