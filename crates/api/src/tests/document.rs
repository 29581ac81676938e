//! The OpenAPI document against the real routes, and against the copy in the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{openapi, routes};

/// The routes that the router really has, read from its debug output: axum offers no list of them.
fn routes_served(router: &str) -> BTreeMap<String, BTreeSet<&'static str>> {
    const METHODS: [&str; 8] = ["get", "head", "delete", "options", "patch", "post", "put", "trace"];
    let (routes, node) = router.split_once("node: Node").unwrap();
    let path_of = |id: &str| {
        let (_, rest) = node.split_once(&format!("{id}: \"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let entries = routes.split("RouteId(").skip(1);
    entries
        .map(|entry| {
            let id = format!("RouteId({})", entry.split_once(')').unwrap().0);
            assert!(entry.contains("MethodRouter {"), "axum's debug output has changed: {entry}");
            let has = |method: &&str| entry.contains(&format!(" {method}: BoxedHandler"));
            (path_of(&id), METHODS.into_iter().filter(has).collect())
        })
        .collect()
}

#[test]
fn every_route_is_in_the_document() {
    let (router, document) = routes().split_for_parts();
    let document = serde_json::to_value(&document).unwrap();
    let documented = document["paths"].as_object().unwrap().iter().map(|(path, item)| {
        let methods: BTreeSet<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        (path.clone(), methods)
    });
    let documented: BTreeMap<String, BTreeSet<&str>> = documented.collect();
    assert_eq!(routes_served(&format!("{router:?}")), documented);
    assert_eq!(documented["/sandbox"], BTreeSet::from(["get", "post"]));
}

/// What one document has and this server does not, in the words of that document.
const NOT_HERE: [&str; 2] = ["/v1/pools", "/v1/templates"];

#[test]
fn every_operation_says_how_it_can_end() {
    let document = serde_json::to_value(routes().into_openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let has = |status: &str| responses.contains_key(status);
            if NOT_HERE.iter().any(|part| path.starts_with(part)) {
                assert!(has("501"), "{method} {path}");
                continue;
            }
            assert!(["101", "200", "201", "202", "204"].into_iter().any(has), "{method} {path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let of_something = path.contains('{') || parameters.iter().any(|it| it["name"] == "sandbox");
            assert_eq!(of_something, has("404"), "{method} {path}");
            assert_eq!(operation.get("requestBody").is_some(), has("400") && has("413"), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
        }
    }
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let document = serde_json::to_value(routes().into_openapi()).unwrap();
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let names: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), distinct.len());
}

#[test]
fn the_document_in_the_repository_is_the_generated_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let generated = openapi::json(&routes().into_openapi());
    if std::env::var_os("UPDATE_OPENAPI").is_some_and(|value| value == "1") {
        std::fs::write(&file, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == generated,
        "crates/api/openapi.json is not what the code generates; if the change is meant, run: \
         UPDATE_OPENAPI=1 cargo test -p api the_document_in_the_repository"
    );
}

/// Routes without a guard. Whoever adds one says here why it needs none: these show nothing of anybody.
const WITHOUT_A_KEY: [&str; 5] = ["/health", "/openapi.json", "/v1/health", "/v1/version", "/version"];

#[test]
fn every_route_but_a_few_has_a_guard() {
    let document = serde_json::to_value(routes().into_openapi()).unwrap();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let guarded = operation["security"].as_array().is_some_and(|any| {
                let named =
                    |one: &serde_json::Value| one.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
                let of_all = ["bearer", "open-sandbox-api-key", "x-api-key"];
                let names: BTreeSet<String> = any.iter().flat_map(named).collect();
                of_all.iter().all(|scheme| names.contains(*scheme))
                    && any.iter().all(|one| named(one).iter().all(|it| schemes.contains_key(it)))
            });
            assert_eq!(guarded, !WITHOUT_A_KEY.contains(&path.as_str()), "{method} {path}");
            assert_eq!(guarded, operation["responses"].get("401").is_some(), "{method} {path}");
        }
    }
}
