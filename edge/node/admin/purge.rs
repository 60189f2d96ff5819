//! `POST /purge`: what is purged, and how.
//!
//! A purge that says something we do not understand purges nothing: an operator
//! must never believe that something is gone which is not.

use super::answer::{Answer, Refused, json};
use super::url::Url;
use crate::config::QueryKeep;
use crate::http::head::Fault;
use crate::http::sites::Live;
use crate::http::target;
use crate::node::Node;
use edge_cache::{Mode, Now, Selector};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Selectors in one call.
const SELECTORS_MAX: usize = 10_000;

/// Purges. Answers with the last stamp and the number of marks set.
pub(super) fn purge(node: &Node, body: &[u8]) -> Answer {
    let Purge { selectors, mode } = Purge::parse(body).map_err(Refused::bad)?;
    let live = node.live.load_full();
    let exact = |host: &str, path: &str| is_exact(&live, host, path);
    let (mut stamp, mut marks) = (0, 0);
    for selector in selectors.into_iter().flat_map(|one| widened(one, exact)) {
        stamp = node.engine.purge(selector, mode, Now::read()).0;
        marks += 1;
    }
    let mode = word(mode);
    log::info!("admin: purged with {marks} marks, {mode}, the last of them {stamp}");
    Ok(json(
        StatusCode::OK,
        json!({ "stamp": stamp, "marks": marks }),
    ))
}

/// What is stored carries the query it was first asked with. Where it is found
/// under other queries too, all queries of the path go: rather too much than
/// not enough.
fn widened(selector: Selector, exact: impl Fn(&str, &str) -> bool) -> Vec<Selector> {
    match selector {
        Selector::Url { host, target } => {
            let path = target.split('?').next().unwrap_or_default();
            if exact(&host, path) {
                return vec![Selector::Url { host, target }];
            }
            let prefix = Selector::Prefix {
                host: host.clone(),
                path: format!("{path}?"),
            };
            let target = path.to_owned();
            vec![Selector::Url { host, target }, prefix]
        }
        wide => vec![wide],
    }
}

/// Does every query of this path have an object of its own?
fn is_exact(live: &Live, host: &str, path: &str) -> bool {
    live.site(host)
        .and_then(|site| site.routes.get(site.route(path)?))
        .is_none_or(|route| {
            let query = &route.cache.query;
            matches!(query.keep, QueryKeep::All) && !query.sort
        })
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Purge {
    selectors: Vec<Selector>,
    mode: Mode,
}

const EXAMPLE: &str = r#"for example {"url": "http://example.com/a"}"#;

impl Purge {
    fn parse(body: &[u8]) -> Result<Purge, String> {
        let members: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| format!("the body is not a JSON object ({error}); {EXAMPLE}"))?;
        let mut purge = Purge {
            selectors: Vec::new(),
            mode: Mode::default(),
        };
        for (name, value) in &members {
            match name.as_str() {
                "url" => purge.each(name, value, "http://example.com/a", of_url)?,
                "prefix" => purge.each(name, value, "http://example.com/images/", of_prefix)?,
                "tag" => purge.each(name, value, "product-7", of_tag)?,
                "host" => purge.each(name, value, "example.com", of_host)?,
                "everything" if *value == Value::Bool(true) => purge.add(Selector::Everything)?,
                "everything" => {
                    return Err(r#"`everything` can only be true: {"everything": true}"#.to_owned());
                }
                "mode" => purge.mode = mode(value)?,
                _ => {
                    return Err(format!(
                        "there is no member {name:?}, only `url`, `prefix`, `tag`, `host`, \
                         `everything` and `mode`; {EXAMPLE}"
                    ));
                }
            }
        }
        if purge.selectors.is_empty() {
            return Err(format!("nothing is named that could be purged; {EXAMPLE}"));
        }
        Ok(purge)
    }

    /// Adds one text or every text of a list.
    fn each(
        &mut self,
        name: &str,
        value: &Value,
        example: &str,
        select: fn(&str) -> Result<Selector, String>,
    ) -> Result<(), String> {
        let texts = match value {
            Value::Array(texts) => texts.as_slice(),
            one => std::slice::from_ref(one),
        };
        for text in texts {
            let Value::String(text) = text else {
                return Err(format!(
                    "`{name}` is a text or a list of texts; for example {{{name:?}: {example:?}}}"
                ));
            };
            let selector = select(text)
                .map_err(|why| format!("`{name}`: {text:?}: {why}; for example {example:?}"))?;
            self.add(selector)?;
        }
        Ok(())
    }

    fn add(&mut self, selector: Selector) -> Result<(), String> {
        if self.selectors.len() == SELECTORS_MAX {
            return Err(format!(
                "one call may purge by at most {SELECTORS_MAX} selectors; \
                 make several calls, or purge by `prefix`, `tag` or `host`"
            ));
        }
        self.selectors.push(selector);
        Ok(())
    }
}

fn of_url(text: &str) -> Result<Selector, String> {
    let url = Url::parse(text)?;
    Ok(Selector::Url {
        host: url.host,
        target: url.target,
    })
}

fn of_prefix(text: &str) -> Result<Selector, String> {
    let url = Url::parse(text)?;
    if url.has_query() {
        return Err("a prefix has no query".to_owned());
    }
    if url.path().ends_with('*') {
        return Err("a prefix needs no star at its end".to_owned());
    }
    Ok(Selector::Prefix {
        path: url.path().to_owned(),
        host: url.host,
    })
}

fn of_tag(text: &str) -> Result<Selector, String> {
    match text {
        "" => Err("a tag is not empty".to_owned()),
        text => Ok(Selector::Tag(text.to_owned())),
    }
}

fn of_host(text: &str) -> Result<Selector, String> {
    let host = target::normal_host(text.as_bytes(), 80).map_err(Fault::words)?;
    Ok(Selector::Host(host))
}

fn mode(value: &Value) -> Result<Mode, String> {
    match value.as_str() {
        Some("soft") => Ok(Mode::Soft),
        Some("revalidate") => Ok(Mode::Revalidate),
        Some("hard") => Ok(Mode::Hard),
        _ => Err(format!(
            r#"`mode` is "soft", "revalidate" or "hard", not {value}; for example {{"everything": true, "mode": "soft"}}"#
        )),
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Soft => "soft",
        Mode::Revalidate => "revalidate",
        Mode::Hard => "hard",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str, target: &str) -> Selector {
        Selector::Url {
            host: host.into(),
            target: target.into(),
        }
    }

    #[test]
    fn what_is_named_is_selected() {
        let prefix = Selector::Prefix {
            host: "a:81".into(),
            path: "/img/".into(),
        };
        for (body, selectors, mode) in [
            (
                r#"{"url": "http://A/x?y"}"#,
                vec![url("a", "/x?y")],
                Mode::Hard,
            ),
            (
                r#"{"url": ["http://a:80/./x", "https://b:443"], "mode": "hard"}"#,
                vec![url("a", "/x"), url("b", "/")],
                Mode::Hard,
            ),
            (
                r#"{"prefix": "http://a:81/img//", "mode": "soft"}"#,
                vec![prefix],
                Mode::Soft,
            ),
            (
                r#"{"tag": ["t 1"], "host": "Example.com.:80", "mode": "revalidate"}"#,
                vec![
                    Selector::Host("example.com".into()),
                    Selector::Tag("t 1".into()),
                ],
                Mode::Revalidate,
            ),
            (
                r#"{"everything": true}"#,
                vec![Selector::Everything],
                Mode::Hard,
            ),
        ] {
            assert_eq!(
                Purge::parse(body.as_bytes()),
                Ok(Purge { selectors, mode }),
                "{body}"
            );
        }
    }

    #[test]
    fn where_queries_make_no_difference_all_of_them_go() {
        let wide = || {
            let path = "/x?".into();
            let host = "a".into();
            vec![url("a", "/x"), Selector::Prefix { host, path }]
        };
        let exact = |host: &str, path: &str| (host, path) != ("a", "/x");
        for (selector, wanted) in [
            (url("a", "/x?utm_source=1"), wide()),
            (url("a", "/x"), wide()),
            (url("a", "/y?z"), vec![url("a", "/y?z")]),
            (url("b", "/x?z"), vec![url("b", "/x?z")]),
            (Selector::Everything, vec![Selector::Everything]),
        ] {
            assert_eq!(widened(selector, exact), wanted);
        }
    }

    #[test]
    fn what_is_not_understood_is_named_and_purges_nothing() {
        for (body, said) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
            ("{}", "nothing is named"),
            (r#"{"url": []}"#, "nothing is named"),
            (r#"{"mode": "hard"}"#, "nothing is named"),
            (r#"{"urls": "http://a/"}"#, "\"urls\""),
            (r#"{"url": 7}"#, "`url` is a text"),
            (r#"{"url": ["http://a/", null]}"#, "`url` is a text"),
            (r#"{"url": {"x": 1}}"#, "`url` is a text"),
            (r#"{"url": "a/b"}"#, "\"a/b\": not a URL"),
            (r#"{"url": "http://a/%zz"}"#, "malformed percent-escape"),
            (r#"{"url": "http://a/", "x": 1}"#, "\"x\""),
            (r#"{"prefix": "http://a/x?y"}"#, "no query"),
            (r#"{"prefix": "http://a/x*"}"#, "no star"),
            (r#"{"prefix": "/x"}"#, "`prefix`"),
            (r#"{"tag": ""}"#, "`tag`"),
            (r#"{"host": "http://a/"}"#, "`host`"),
            (r#"{"host": "*.example.com"}"#, "`host`"),
            (r#"{"everything": false}"#, "`everything`"),
            (r#"{"everything": "yes"}"#, "`everything`"),
            (r#"{"everything": true, "mode": "soggy"}"#, "`mode`"),
            (r#"{"everything": true, "mode": true}"#, "`mode`"),
        ] {
            let error = Purge::parse(body.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{body}: {error}");
            assert!(
                ["example", "true}", "{\""]
                    .iter()
                    .any(|good| error.contains(good)),
                "no good example: {error}"
            );
        }
    }

    #[test]
    fn a_call_has_a_bound() {
        let many = |count: usize| json!({ "url": vec!["http://a/"; count] }).to_string();
        assert!(Purge::parse(many(SELECTORS_MAX).as_bytes()).is_ok());
        let error = Purge::parse(many(SELECTORS_MAX + 1).as_bytes()).unwrap_err();
        assert!(error.contains("at most 10000"), "{error}");
    }
}
