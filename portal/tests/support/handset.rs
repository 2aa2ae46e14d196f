//! A gateway and the handsets behind it, made up: contacts in memory, every request written down, troubles to order.
//!
//! The tests talk to it through the portal; the example `made_up_handset` serves it for a look with a browser.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// The handset that is there.
pub(crate) const MSISDN: &str = "34600000001";
/// `alice` / `wonderland`
pub(crate) const AUTHORIZATION: &str = "Basic YWxpY2U6d29uZGVybGFuZA==";

/// One request as it reached the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What to answer instead of what a handset would.
#[derive(Clone)]
pub(crate) enum Order {
    /// This.
    Answer(StatusCode, Vec<(&'static str, String)>, String),
    /// Nothing, until told; then as usual.
    WaitFor(Arc<Notify>),
}

/// The made-up gateway with its handsets.
#[derive(Clone, Default)]
pub(crate) struct MadeUp(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    seen: Vec<Seen>,
    order: Option<Order>,
    /// By resource.
    items: HashMap<String, Vec<Value>>,
    ids: u64,
}

impl MadeUp {
    /// Serves on a free port.
    pub(crate) async fn serve(&self, at: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(at).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Puts an item into the handset and tells its id.
    pub(crate) fn put(&self, resource: &str, mut item: Value) -> String {
        let mut inside = self.0.lock().expect("whole");
        inside.ids += 1;
        let id = inside.ids.to_string();
        item["id"] = json!(id);
        item["store"] = item.get("store").cloned().unwrap_or(json!("phone"));
        inside
            .items
            .entry(resource.to_owned())
            .or_default()
            .push(item);
        id
    }

    /// Takes all items of a resource.
    pub(crate) fn items(&self, resource: &str) -> Vec<Value> {
        self.0
            .lock()
            .expect("whole")
            .items
            .get(resource)
            .cloned()
            .unwrap_or_default()
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.lock().expect("whole").seen.clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn saw(&self, count: usize) {
        let seen = async {
            while self.seen().len() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), seen)
            .await
            .expect("a request");
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        self.0.lock().expect("whole").seen.clear();
    }

    /// From now on.
    pub(crate) fn order(&self, order: Option<Order>) {
        self.0.lock().expect("whole").order = order;
    }
}

async fn answer(State(made_up): State<MadeUp>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let order = {
        let mut inside = made_up.0.lock().expect("whole");
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        inside.seen.push(Seen {
            method,
            target: target.clone(),
            headers,
            body: body.clone(),
        });
        inside.order.clone()
    };
    match order {
        Some(Order::Answer(status, headers, body)) => {
            let mut response = (status, body).into_response();
            for (name, value) in headers {
                response
                    .headers_mut()
                    .insert(name, value.parse().expect("a header"));
            }
            return response;
        }
        Some(Order::WaitFor(told)) => told.notified().await,
        None => {}
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut segments = path.trim_start_matches('/').split('/');
    if segments.next() != Some(MSISDN) {
        return gateway_problem(StatusCode::SERVICE_UNAVAILABLE, "handset-offline");
    }
    if parts
        .headers
        .get(header::AUTHORIZATION)
        .is_none_or(|sent| sent != AUTHORIZATION)
    {
        let response = problem(
            StatusCode::UNAUTHORIZED,
            "about:blank",
            "Sign in",
            "Who are you?",
        );
        return (
            [(header::WWW_AUTHENTICATE, "Basic realm=\"handset\"")],
            response,
        )
            .into_response();
    }
    let resource = segments.next().unwrap_or_default().to_owned();
    let id = segments.next().map(|id| {
        percent_encoding::percent_decode_str(id)
            .decode_utf8_lossy()
            .into_owned()
    });
    made_up.handle(&parts.method, &resource, id.as_deref(), query, &body)
}

impl MadeUp {
    fn handle(
        &self,
        method: &Method,
        resource: &str,
        id: Option<&str>,
        query: &str,
        body: &[u8],
    ) -> Response {
        let number = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs
                .find(|(key, _)| key == name)
                .and_then(|(_, value)| value.parse::<usize>().ok())
        };
        match (method.as_str(), id) {
            ("GET", None) => {
                let items = self.items(resource);
                let (after, limit) = (number("after").unwrap_or(0), number("limit").unwrap_or(100));
                let page: Vec<&Value> = items.iter().skip(after).take(limit).collect();
                let end = after + page.len();
                let next = (end < items.len())
                    .then(|| format!("/{MSISDN}/{resource}?after={end}&limit={limit}"));
                json_answer(StatusCode::OK, &json!({resource: page, "next": next}))
            }
            ("GET", Some(id)) => match self
                .items(resource)
                .into_iter()
                .find(|item| item["id"] == id)
            {
                Some(item) => json_answer(StatusCode::OK, &item),
                None => no_such_item(),
            },
            ("POST", None) => match serde_json::from_slice::<Value>(body) {
                Ok(item) if item["name"] != "Full" => {
                    self.put(resource, item.clone());
                    json_answer(StatusCode::CREATED, &item)
                }
                _ => problem(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "about:blank",
                    "Store full",
                    "No room on <this> SIM & phone",
                ),
            },
            ("DELETE", Some(id)) => {
                let mut inside = self.0.lock().expect("whole");
                let items = inside.items.entry(resource.to_owned()).or_default();
                let before = items.len();
                items.retain(|item| item["id"] != id);
                if items.len() < before {
                    StatusCode::NO_CONTENT.into_response()
                } else {
                    no_such_item()
                }
            }
            _ => problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "about:blank",
                "Method not allowed",
                "Not here",
            ),
        }
    }
}

fn no_such_item() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "about:blank",
        "Not found",
        "There is no such item",
    )
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    let body = json!({"type": kind, "title": title, "status": status.as_u16(), "detail": detail});
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

/// What the gateway itself answers (PROTOCOL 5.4).
pub(crate) fn gateway_problem(status: StatusCode, slug: &str) -> Response {
    let body = json!({
        "type": format!("urn:everline:{slug}"), "title": "From the gateway", "status": status.as_u16(),
        "detail": "See PROTOCOL 5.4", "request_id": "4bf92f3577b34da6",
    });
    let headers = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::RETRY_AFTER, "5"),
    ];
    (status, headers, body.to_string()).into_response()
}

/// The sample contacts that a look at the portal wants.
pub(crate) fn sample(made_up: &MadeUp) {
    let people = [
        json!({"name": "Ada Lovelace", "phones": [{"type": "cell", "number": "+34 600 123 456"}, {"type": "work", "number": "+44 20 7946 0958"}],
               "emails": [{"type": "home", "address": "ada@example.com"}], "organization": "Analytical Engines",
               "note": "Prefers letters.\nBirthday: 10 December"}),
        json!({"name": "Blaise Pascal", "phones": [{"type": "home", "number": "+33 1 70 18 99 00"}], "store": "sim"}),
        json!({"name": "Grace Hopper", "phones": [{"type": "work", "number": "+1 202 555 0156"}],
               "emails": [{"type": "work", "address": "grace.hopper@navy.example"}], "organization": "US Navy"}),
        json!({"name": "مريم الأسطرلابي", "phones": [{"type": "cell", "number": "+963 944 567 890"}]}),
        json!({"name": "Taxi", "phones": [{"type": "other", "number": "24024"}], "store": "sim"}),
        json!({"name": "Wolfeschlegelsteinhausenbergerdorffwelchevoralternwaren",
               "emails": [{"type": "home", "address": "a.rather.long.address.that.does.not.end@subdomain.of.a.long.domain.example"}]}),
    ];
    for person in people {
        made_up.put("contacts", person);
    }
}
