//! A portal on a free port in front of a made-up gateway, and a browser without a window: cookies, links, forms.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use everline_portal::{CATALOGUE, Catalogue, Clock, Config, Portal, router, serve};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::handset::{MSISDN, MadeUp};

/// The user that the made-up handset knows.
pub(crate) const ALICE: [(&str, &str); 3] = [
    ("msisdn", MSISDN),
    ("user", "alice"),
    ("password", "wonderland"),
];

/// A portal under test. It ends with its runtime.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) handset: MadeUp,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) served: tokio::task::JoinHandle<()>,
    time_ms: Arc<AtomicU64>,
}

/// How to start one.
pub(crate) struct Setup {
    pub(crate) config: String,
    pub(crate) catalogue: Catalogue,
    /// `None`: the made-up gateway's.
    pub(crate) gateway: Option<SocketAddr>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: String::new(),
            catalogue: CATALOGUE,
            gateway: None,
        }
    }
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn configured(config: &str) -> Self {
        Self::with(Setup {
            config: config.to_owned(),
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let handset = MadeUp::default();
        let made_up = handset.serve(loopback).await;
        let gateway = setup.gateway.unwrap_or(made_up);
        let text = format!("gateway = \"http://{gateway}\"\n{}", setup.config);
        let config = Config::read(&text).expect("a valid configuration");
        let time_ms = Arc::new(AtomicU64::new(0));
        let turned = Arc::clone(&time_ms);
        let clock =
            Clock::from_fn(move || everline_protocol::Millis(turned.load(Ordering::Relaxed)));
        let listener = TcpListener::bind(loopback).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let limits = config.limits;
        let portal = Portal::new(config, setup.catalogue, clock).expect("randomness");
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            serve(listener, router(portal), &limits, async move {
                let _ = stopped.await;
            })
            .await;
        });
        Self {
            address,
            handset,
            stop,
            served,
            time_ms,
        }
    }

    /// Turns the portal's clock.
    pub(crate) fn pass(&self, seconds: u64) {
        self.time_ms.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }

    /// Somebody who was never here.
    pub(crate) fn browser(&self) -> Browser {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Browser {
            client,
            address: self.address,
            cookies: BTreeMap::new(),
            forwarded_for: None,
        }
    }

    /// Somebody who is signed in. What the handset saw of that is forgotten.
    pub(crate) async fn alice(&self) -> Browser {
        let mut browser = self.browser();
        let reply = browser.sign_in(&ALICE).await;
        assert_eq!(
            (reply.status, reply.location()),
            (StatusCode::SEE_OTHER, "/"),
            "{}",
            reply.text
        );
        self.handset.forget();
        browser
    }
}

/// One visitor's browser. It follows no redirect by itself.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
    /// What a proxy would write.
    pub(crate) forwarded_for: Option<&'static str>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Browser {
    pub(crate) async fn get(&mut self, target: &str) -> Reply {
        self.send(Method::GET, target, "", String::new()).await
    }

    pub(crate) async fn post(&mut self, target: &str, inputs: &[(String, String)]) -> Reply {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(inputs)
            .finish();
        self.send(
            Method::POST,
            target,
            "application/x-www-form-urlencoded",
            body,
        )
        .await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        target: &str,
        kind: &str,
        body: String,
    ) -> Reply {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.address));
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Some(forwarded_for) = self.forwarded_for {
            request = request.header("x-forwarded-for", forwarded_for);
        }
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let response = self
            .client
            .request(request.body(Full::from(body)).expect("a request"))
            .await
            .expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        for set in head.headers.get_all(header::SET_COOKIE) {
            let cookie = set
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or_default();
            let (name, value) = cookie.split_once('=').expect("a cookie");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Reply {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).expect("UTF-8"),
        }
    }

    /// Loads a page, fills out the form that goes to `action`, and sends it.
    pub(crate) async fn fill(&mut self, page: &str, action: &str, typed: &[(&str, &str)]) -> Reply {
        let reply = self.get(page).await;
        let inputs = reply.form(action, typed);
        self.post(action, &inputs).await
    }

    pub(crate) async fn sign_in(&mut self, typed: &[(&str, &str)]) -> Reply {
        self.fill("/sign-in", "/sign-in", typed).await
    }

    /// Sends a form and looks at the page that it leads to.
    pub(crate) async fn act(&mut self, page: &str, action: &str, typed: &[(&str, &str)]) -> Reply {
        let reply = self.fill(page, action, typed).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text);
        self.get(reply.location()).await
    }
}

impl Reply {
    /// Where a redirect leads.
    pub(crate) fn location(&self) -> &str {
        self.headers
            .get(header::LOCATION)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// The hidden inputs of the form that goes to `action`, and what was typed.
    pub(crate) fn form(&self, action: &str, typed: &[(&str, &str)]) -> Vec<(String, String)> {
        let start = self
            .text
            .find(&format!("action=\"{action}\""))
            .unwrap_or_else(|| panic!("no form: {}", self.text));
        let form = self.text[start..]
            .split("</form>")
            .next()
            .unwrap_or_default();
        let hidden = form
            .split("<input")
            .filter(|input| input.contains("type=\"hidden\""))
            .map(|input| {
                let value = |name: &str| {
                    input
                        .split(&format!("{name}=\""))
                        .nth(1)
                        .and_then(|rest| rest.split('"').next())
                };
                (
                    unescaped(value("name").expect("a name")),
                    unescaped(value("value").expect("a value")),
                )
            });
        hidden
            .chain(
                typed
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            )
            .collect()
    }

    /// Asserts that a page says all of this.
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.text.contains(word),
                "{word:?} is not in: {}",
                self.text
            );
        }
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}
