//! The store of a running node, through its admin API.

use super::shelf::{Bucket, Listed, Object, Page, Query, Upload};
use crate::cli::Failure;
use crate::cli::talk::{self, Admin, Node, escaped};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request};
use serde_json::Value as Json;

pub(super) struct Remote {
    node: Node,
}

impl Remote {
    pub(super) fn new(admin: &Admin) -> Result<Remote, Failure> {
        Ok(Remote {
            node: Node::new(admin)?,
        })
    }

    pub(super) async fn buckets(&self) -> Result<Vec<Bucket>, Failure> {
        let answer = self.node.ask(Method::GET, "/store", None).await?;
        let buckets = answer["buckets"].as_array().into_iter().flatten();
        let shown = |bucket: &Json| Bucket {
            name: text(&bucket["name"]),
            created: text(&bucket["created"]),
        };
        Ok(buckets.map(shown).collect())
    }

    pub(super) async fn make(&self, bucket: &str) -> Result<(), Failure> {
        let target = bucket_target(bucket);
        self.node.ask(Method::PUT, &target, None).await.map(drop)
    }

    pub(super) async fn remove(&self, bucket: &str) -> Result<(), Failure> {
        let target = bucket_target(bucket);
        self.node.ask(Method::DELETE, &target, None).await.map(drop)
    }

    pub(super) async fn list(&self, bucket: &str, query: &Query) -> Result<Page, Failure> {
        let mut target = format!(
            "{}?prefix={}",
            bucket_target(bucket),
            escaped(&query.prefix)
        );
        if query.by_folder {
            target.push_str("&delimiter=/");
        }
        if let Some(after) = &query.after {
            target.push_str(&format!("&after={}", escaped(after)));
        }
        let answer = self.node.ask(Method::GET, &target, None).await?;
        let shown = |object: &Json| Listed {
            key: text(&object["key"]),
            size: object["size"].as_u64().unwrap_or_default(),
            etag: text(&object["etag"]),
            last_modified: text(&object["last_modified"]),
        };
        let each = |name: &str| answer[name].as_array().into_iter().flatten();
        Ok(Page {
            objects: each("objects").map(shown).collect(),
            prefixes: each("prefixes").map(text).collect(),
            next: answer["next"].as_str().map(str::to_owned),
        })
    }

    pub(super) async fn put(&self, bucket: &str, key: &str, new: Upload) -> Result<(), Failure> {
        let target = object_target(bucket, key)?;
        let mut request = Request::new(new.body);
        *request.method_mut() = Method::PUT;
        let fields = request.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, new.content_type),
            (CACHE_CONTROL, new.cache_control),
        ] {
            if let Some(value) = value {
                fields.insert(name.clone(), field(&name, &value)?);
            }
        }
        if let Some(size) = new.size {
            fields.insert(CONTENT_LENGTH, size.into());
        }
        self.node.send(&target, request).await.map(drop)
    }

    pub(super) async fn get(&self, bucket: &str, key: &str) -> Result<Object, Failure> {
        let target = object_target(bucket, key)?;
        let response = self
            .node
            .send(&target, Request::new(talk::nothing()))
            .await?;
        let field = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        Ok(Object {
            size: field(CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            content_type: field(CONTENT_TYPE).map(str::to_owned),
            body: response.into_body(),
        })
    }

    pub(super) async fn delete(&self, bucket: &str, key: &str) -> Result<bool, Failure> {
        let target = object_target(bucket, key)?;
        let answer = self.node.ask(Method::DELETE, &target, None).await?;
        Ok(answer["deleted"] == true)
    }
}

fn bucket_target(bucket: &str) -> String {
    format!("/store/{}", escaped(bucket))
}

/// Where a key is. Paths are brought into one form before they are looked at: empty segments
/// vanish and dots climb, and the key would become another one. Where it has such segments, its
/// slashes are escaped, so that all of it is one segment.
fn object_target(bucket: &str, key: &str) -> Result<String, Failure> {
    let key = match key {
        "" => {
            return Err(Failure::Invalid(
                "an object needs a key: store://BUCKET/KEY".into(),
            ));
        }
        "." | ".." => {
            let what = format!("the key `{key}` cannot be asked for over HTTP; use --data");
            return Err(Failure::Invalid(what));
        }
        key => key,
    };
    let mut segments = key.strip_suffix('/').unwrap_or(key).split('/');
    let path = match segments.any(|segment| matches!(segment, "" | "." | "..")) {
        true => escaped(key),
        false => key.split('/').map(escaped).collect::<Vec<_>>().join("/"),
    };
    Ok(format!("{}/{path}", bucket_target(bucket)))
}

fn field(name: &HeaderName, value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| Failure::Invalid(format!("`{value}` cannot be sent as {name}")))
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target;

    #[test]
    fn a_key_reaches_the_node_as_it_is() {
        for key in [
            "a.html", "a b/ü", "a/b/", "a//b", "/a", "a/../b", "a/./b", "./a", "..a/b..", "a%2Fb",
            "a?b#c", "...", "//", "/", "a//",
        ] {
            let target = object_target("www", key).unwrap();
            let (seen, _) = target::normal(target.as_bytes(), None).unwrap();
            let seen = seen.strip_prefix("/store/www/").unwrap();
            let mut got = Vec::new();
            let mut bytes = seen.bytes();
            while let Some(byte) = bytes.next() {
                got.push(match byte {
                    b'%' => {
                        let two = [bytes.next().unwrap(), bytes.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&two).unwrap(), 16).unwrap()
                    }
                    byte => byte,
                });
            }
            assert_eq!(String::from_utf8(got).unwrap(), key);
        }
        for key in ["", ".", ".."] {
            assert!(object_target("www", key).is_err(), "{key:?}");
        }
    }
}
