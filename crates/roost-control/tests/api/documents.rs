//! What the documents say of the API, held against it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{APP, Api, KEY, NO_KEY, server};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn openapi() -> Value {
    serde_json::from_str(&read("openapi.json")).expect("JSON")
}

/// Method and path of each operation of the file, with the operation.
fn operations(file: &Value) -> Vec<(String, String, &Value)> {
    let paths = file["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("methods").iter();
        methods.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

#[test]
fn the_openapi_file_and_the_router_have_the_same_paths() {
    let file = openapi();
    let described: BTreeSet<(String, String)> = operations(&file)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    assert_eq!(described, roost_control::paths().into_iter().collect());
}

#[test]
fn every_described_request_is_routed_and_its_examples_are_taken() {
    let server = server();
    let api = Api::of(server.shared());
    let file = openapi();
    for (method, path, operation) in operations(&file) {
        let content = operation["requestBody"]["content"].as_object();
        let is_signed = path.starts_with("/apps/"); // its examples are in tests of their own
        for (content_type, media) in content.into_iter().flatten().filter(|_| !is_signed) {
            let examples = media["examples"].as_object().expect("examples");
            for (name, example) in examples {
                let body = match &example["value"] {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                let headers = format!("X-API-Key: {KEY}\r\nContent-Type: {content_type}\r\n");
                let answer = api.request(&method, &path, &headers, body.as_bytes());
                let status = answer.status.to_string();
                // No connection has the name {connection}.
                let is_taken = answer.status < 300 || path.contains('{') && answer.status == 404;
                assert!(
                    is_taken && operation["responses"].get(&status).is_some(),
                    "{method} {path}, {name}: {answer:?}"
                );
                check_schema(&file, operation, &status, &answer.body, content_type);
            }
        }
        // Without a key, and with no body at all.
        let path = match path.starts_with("/apps/") {
            true => path.replace("{app_id}", APP),
            false => path,
        };
        let answer = api.request(&method, &path, "", b"");
        match path.starts_with("/apps/") {
            true => assert_eq!(answer.status, 401, "{method} {path}: {answer:?}"),
            false => _ = answer.problem(401, "unauthorized"),
        }
        assert!(operation["responses"].get("401").is_some(), "{path}");
    }
}

#[test]
fn a_key_that_allows_nothing_opens_nothing_that_is_described() {
    let server = server();
    let api = Api::of(server.shared());
    let file = openapi();
    let own = |(_, path, _): &(String, String, &Value)| !path.starts_with("/apps/"); // others' are signed
    for (method, path, operation) in operations(&file).into_iter().filter(own) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut names = parameters.map(|parameter| &parameter["name"]);
        let query = match names.any(|name| name == "channel") {
            true => "?channel=lobby",
            false => "",
        };
        for (content_type, body) in examples(operation) {
            let headers = format!("X-API-Key: {NO_KEY}\r\nContent-Type: {content_type}\r\n");
            let target = format!("{path}{query}");
            let answer = api.request(&method, &target, &headers, body.as_bytes());
            let codes: Vec<Value> = match path.as_str() {
                "/v1/publications" => answer.lines(),
                "/api/batch" => answer.json()["replies"].as_array().expect("a list").clone(),
                _ if path.starts_with("/api/") => vec![answer.json()],
                _ => {
                    answer.problem(403, "forbidden");
                    continue;
                }
            };
            assert!(!codes.is_empty(), "{method} {path}: {answer:?}");
            for code in codes {
                let error = match code["result"]["responses"].as_array() {
                    Some(responses) => &responses[0]["error"],
                    None => &code["error"],
                };
                let is_refused = error["status"] == 403 || error["code"] == 103;
                assert!(is_refused, "{method} {path}: {answer:?}");
            }
        }
    }
    assert_eq!(server.count("publishes_total"), 0);
}

/// The bodies that a request may have, by its examples, each with its type; one without any where it has none.
fn examples(operation: &Value) -> Vec<(String, String)> {
    let content = operation["requestBody"]["content"].as_object();
    let bodies = content
        .into_iter()
        .flatten()
        .flat_map(|(content_type, media)| {
            let examples = media["examples"].as_object().expect("examples");
            examples.values().map(|example| {
                let body = match &example["value"] {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                (content_type.clone(), body)
            })
        });
    let mut bodies: Vec<_> = bodies.collect();
    if bodies.is_empty() {
        bodies.push(("application/json".to_owned(), String::new()));
    }
    bodies
}

/// The answer has the members that its schema requires, and no others.
fn check_schema(file: &Value, operation: &Value, status: &str, body: &str, content_type: &str) {
    if content_type != "application/json" || status == "404" {
        return;
    }
    let answer: Value = serde_json::from_str(body).expect("JSON");
    let schema = &operation["responses"][status]["content"][content_type]["schema"];
    let name = schema["$ref"].as_str().expect("a name").rsplit('/').next();
    let schema = &file["components"]["schemas"][name.expect("a name")];
    let members: BTreeSet<&str> = keys(&answer);
    let known = keys(&schema["properties"]);
    let required = schema["required"].as_array().into_iter().flatten();
    let required: BTreeSet<&str> = required.filter_map(Value::as_str).collect();
    assert!(members.is_subset(&known), "{answer}");
    assert!(required.is_subset(&members), "{answer}");
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn the_table_of_errors_has_all_of_them() {
    let text = read("api.md");
    let rows: BTreeSet<(u16, String)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let status = cells.next()?.parse().ok()?;
            let kind = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((status, kind.to_owned()))
        })
        .collect();
    assert_eq!(rows, roost_control::problems().into_iter().collect());
}
