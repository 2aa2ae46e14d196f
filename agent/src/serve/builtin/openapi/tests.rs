//! The description against the router, both ways, and against itself.

use std::collections::BTreeSet;

use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::super::{Builtin, resource};
use super::*;
use crate::config::{Config, Serve};
use crate::serve::builtin::resource::{Action, Manager};
use crate::status::Status;

async fn opened(directory: &std::path::Path) -> Builtin {
    let text = "msisdn = \"34600000001\"\ngateways = [\"127.0.0.1:1\"]\ntoken = \"t\"\nauthentication = \"none\"\n\
        [builtin]\ndatabase = \"handset.db\"\n[consent]\nenabled = false\n";
    let config = Config::parse(text, &directory.join("agent.toml")).unwrap();
    let Serve::Builtin(builtin) = config.serve else {
        panic!("the configuration has the embedded web server");
    };
    Builtin::open(&builtin, &Status::default()).await.unwrap()
}

fn whole() -> Json {
    document(resource::ALL, "", true)
}

fn paths(document: &Json) -> &Map<String, Json> {
    document["paths"].as_object().unwrap()
}

/// The paths that a router has. It tells them when it is printed, and nowhere else.
fn routed(router: &Router) -> BTreeSet<String> {
    let printed = format!("{router:?}");
    let paths = printed.split("paths: {").nth(1).unwrap_or_default();
    let paths = paths.split('}').collect::<Vec<_>>().join("}");
    paths
        .split("RouteId(")
        .skip(1)
        .filter_map(|entry| entry.split('"').nth(1))
        .filter(|path| path.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn r12_r14_every_route_is_described_and_every_description_is_routed() {
    let directory = tempfile::tempdir().unwrap();
    let builtin = opened(directory.path()).await;
    let described: BTreeSet<_> = paths(&whole()).keys().cloned().collect();
    let mut routed = routed(&builtin.router);
    // What takes every path that nothing else takes.
    routed.retain(|path| !path.contains("{*") && !path.contains("__private"));
    assert!(routed.len() > 20, "{routed:?}");
    assert_eq!(described, routed);
}

#[tokio::test]
async fn r14_every_url_has_the_methods_that_are_described_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let service = TowerToHyperService::new(opened(directory.path()).await.router);
    for (path, operations) in paths(&whole()) {
        let url = path.replace("{id}", "1").replace("{number}", "1");
        let request = http::Request::options(&url).body(Body::empty()).unwrap();
        let answer = service.call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{path}");
        let allowed = answer.headers()[ALLOW].to_str().unwrap();
        let allowed: BTreeSet<_> = allowed.split(", ").map(str::to_owned).collect();
        let mut described: BTreeSet<String> = ["OPTIONS".to_owned()].into();
        for method in operations.as_object().unwrap().keys() {
            described.insert(method.to_uppercase());
            if method == "get" {
                described.insert("HEAD".to_owned());
            }
        }
        assert_eq!(described, allowed, "{path}");
        // What is in no list is answered so, whatever the method.
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
            if !described.contains(method) {
                let request = http::Request::builder().method(method).uri(&url);
                let answer = service
                    .call(request.body(Body::empty()).unwrap())
                    .await
                    .unwrap();
                assert_eq!(
                    answer.status(),
                    StatusCode::METHOD_NOT_ALLOWED,
                    "{method} {path}"
                );
            }
        }
    }
}

#[test]
fn r12_r15_every_resource_has_its_actions_described() {
    let document = whole();
    for resource in resource::ALL {
        let list = format!("/{}", resource.path());
        for action in resource.actions {
            let (path, method) = match (action, resource.manager) {
                (Action::List, _) => (list.clone(), "get"),
                (Action::Add | Action::Execute, _) => (list.clone(), "post"),
                (Action::DeleteAll, _) => (list.clone(), "delete"),
                (Action::Get, Manager::PersonalData) if resource.is_collection() => {
                    (format!("{list}/{{id}}"), "get")
                }
                (Action::Get, _) => (list.clone(), "get"),
                (Action::Delete, Manager::PersonalData) => (format!("{list}/{{id}}"), "delete"),
                (Action::Delete, _) => (list.clone(), "delete"),
            };
            assert!(
                paths(&document)[&path][method].is_object(),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn r12_the_description_holds_together() {
    let document = whole();
    let mut ids = BTreeSet::new();
    for (path, operations) in paths(&document) {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            for name in path
                .split('{')
                .skip(1)
                .filter_map(|part| part.split('}').next())
            {
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(
                    parameters
                        .iter()
                        .any(|p| p["name"] == name && p["in"] == "path"),
                    "{method} {path}"
                );
            }
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let pointer = reference.split('"').next().unwrap().trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    for kind in Kind::ALL {
        // Of a wrong method or an unknown URL no operation can tell.
        let (_, slug, _) = kind.told();
        let told = text.contains(&format!("`{slug}`"));
        assert!(told || [Kind::MethodNotAllowed].contains(kind), "{slug}");
    }
}

#[test]
fn r11_the_description_is_of_the_url_that_was_used() {
    let document = document(resource::ALL, "/34600000001", false);
    assert_eq!(document["servers"][0]["url"], "/34600000001");
    assert!(document["security"].is_null());
}
