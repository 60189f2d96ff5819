//! The JSON Schema knows every key and agrees with the reader about good files.

use serde_json::{Value as Json, json};

use super::{EVERYTHING, LISTEN, load};
use crate::config::tree::{Node, parse};
use crate::config::{print, schema};

/// The part of JSON Schema that our schema uses, patterns excepted.
fn check(value: &Json, schema: &Json, path: &str) {
    let known = [
        "$schema",
        "title",
        "type",
        "description",
        "properties",
        "additionalProperties",
        "required",
        "items",
        "enum",
        "default",
        "examples",
        "pattern",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minLength",
        "propertyNames",
    ];
    let object = schema.as_object().unwrap();
    for word in object.keys() {
        assert!(known.contains(&word.as_str()), "{path} uses {word}");
    }
    let kind = match value {
        Json::Bool(_) => "boolean",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
        Json::Null => "null",
    };
    let allowed = &schema["type"];
    let fits = allowed == kind
        || allowed
            .as_array()
            .is_some_and(|all| all.contains(&json!(kind)));
    assert!(fits, "{path} is {kind}, not {allowed}");
    if let Some(few) = schema["enum"].as_array() {
        assert!(few.contains(value), "{path}");
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(
            value.get(required.as_str().unwrap()).is_some(),
            "{path} lacks {required}"
        );
    }
    if let Some(number) = value.as_i64() {
        assert!(
            schema["minimum"]
                .as_i64()
                .is_none_or(|least| number >= least),
            "{path}"
        );
        assert!(
            schema["maximum"].as_i64().is_none_or(|most| number <= most),
            "{path}"
        );
    }
    for item in value.as_array().into_iter().flatten() {
        check(item, &schema["items"], &format!("{path}[]"));
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let property = schema.get("properties").and_then(|all| all.get(key));
        let property = property.unwrap_or(&schema["additionalProperties"]);
        assert!(property.is_object(), "{path} is unknown to the schema");
        check(inner, property, &path);
    }
}

fn json_of(text: &str) -> Json {
    parse("t", 0, text).as_ref().map(Node::json).unwrap()
}

#[test]
fn good_files_fit_the_schema() {
    let schema = schema();
    for text in [EVERYTHING.as_str(), LISTEN] {
        check(&json_of(text), &schema, "");
        check(&json_of(&print(&load(text).unwrap().file)), &schema, "");
    }
}

#[test]
fn every_key_is_described() {
    fn walk(schema: &Json, path: &str, keys: &mut Vec<String>) {
        let about = schema["description"].as_str();
        assert!(about.is_some_and(|about| about.len() > 10), "{path}");
        for inner in [&schema["items"], &schema["additionalProperties"]] {
            if inner["type"] == "object" {
                walk(inner, path, keys);
            }
        }
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            keys.push(path.trim_start_matches('.').to_owned());
            walk(inner, &path, keys);
        }
    }
    let mut keys = Vec::new();
    walk(&schema(), "", &mut keys);
    for key in [
        "data",
        "include",
        "listen.http",
        "listen.proxy_protocol_from",
        "tls.certificates.ocsp",
        "admin.token",
        "cache.window",
        "guard.connections.total",
        "store.metadata_cache",
        "log.level",
        "origins.servers",
        "origins.tls.server_name",
        "site.hosts",
        "site.cache.key.query_only",
        "site.tls.client_ca",
        "site.route.path",
        "site.route.cache.key.cookies",
    ] {
        assert!(
            keys.iter().any(|known| known == key),
            "{key} is not in {keys:?}"
        );
    }
}

#[test]
fn every_default_and_example_is_a_good_value() {
    // Examples that are names of something are declared here so that they resolve.
    fn walk(schema: &Json, path: &str) {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            let examples = inner["examples"].as_array().into_iter().flatten();
            for value in examples.chain(inner.get("default")) {
                check(value, inner, &path);
            }
            walk(inner, &path);
            walk(&inner["items"], &path);
            walk(&inner["additionalProperties"], &path);
        }
    }
    walk(&schema(), "");
}

#[test]
fn defaults_and_choices_stand_in_the_schema() {
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let property = |table: &str, key: &str| schema["properties"][table]["properties"][key].clone();
    assert_eq!(property("guard", "header_deadline")["default"], "10s");
    assert_eq!(property("guard", "fields_max")["default"], 128);
    assert_eq!(
        property("log", "format")["enum"],
        json!(["json", "combined"])
    );
    assert_eq!(property("listen", "http")["default"], json!([]));
    let site = &schema["properties"]["site"]["items"];
    assert_eq!(site["required"], json!(["hosts", "origin"]));
}
