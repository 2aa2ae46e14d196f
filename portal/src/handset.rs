//! The only way to a handset (R70): HTTP requests through the gateway, `http://<gateway>/<msisdn>/<resource>` (R11, R78).
//!
//! Every request has a deadline, every answer a largest size. What comes back is either what the resource's description
//! promises or a [`Trouble`]; nothing of an account or an item is ever logged.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::config::Config;
use crate::resource::{Item, Resource};
use crate::session::Account;
use crate::trouble::{Told, Trouble};

/// Kept open to the gateway between requests.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// How long one of them may be idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// RFC 3986's unreserved characters stay, everything else is encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Longest mark of a next page that is passed on.
const AFTER_BYTES_MAX: usize = 512;

/// Reaches handsets.
pub struct Handsets {
    client: Client<HttpConnector, Full<Bytes>>,
    gateway: Authority,
    domain: HeaderValue,
    timeout: Duration,
    answer_bytes_max: usize,
    page_items: usize,
}

/// A page of a resource's list.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// The items, at most as many as a page shows.
    pub items: Vec<Item>,
    /// What to ask for to get the next page.
    pub next: Option<String>,
}

impl Handsets {
    /// Connects to nothing yet.
    pub fn new(config: &Config) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(config.limits.connect_timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Self {
            client,
            gateway: config.gateway.clone(),
            domain: config.domain.clone(),
            timeout: config.limits.handset_timeout,
            answer_bytes_max: config.limits.answer_bytes_max,
            page_items: config.limits.page_items,
        }
    }

    /// Has the handset's web server judge the account (R69), by asking for one item of `resource`.
    ///
    /// GET rather than HEAD: an answer to HEAD has no body, and with it no word on why a handset can't be reached.
    ///
    /// # Errors
    /// [`Trouble::Credentials`] if the handset does not accept them, anything else if it could not be asked. An account
    /// that is known but may not see this resource is accepted.
    pub async fn judge(&self, account: &Account, resource: &Resource) -> Result<(), Trouble> {
        let path = format!("{}?limit=1", resource.slug);
        match self.send(account, Method::GET, &path, None).await {
            Ok(_) | Err(Trouble::Denied(_)) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Obtains a page of the list (R27), from the beginning or after a mark.
    ///
    /// # Errors
    /// What came between.
    pub async fn list(
        &self,
        account: &Account,
        resource: &Resource,
        after: Option<&str>,
    ) -> Result<Listing, Trouble> {
        let mut path = format!("{}?limit={}", resource.slug, self.page_items);
        if let Some(after) = after.filter(|after| after.len() <= AFTER_BYTES_MAX) {
            path.push_str("&after=");
            path.extend(form_urlencoded::byte_serialize(after.as_bytes()));
        }
        let answer = json(&self.send(account, Method::GET, &path, None).await?)?;
        let items = answer
            .get(resource.slug)
            .and_then(Value::as_array)
            .ok_or(Trouble::Nonsense)?;
        let items = items
            .iter()
            .take(self.page_items)
            .map(|item| resource.item(item));
        let next = match answer.get("next") {
            None | Some(Value::Null) => None,
            Some(next) => Some(mark(next).ok_or(Trouble::Nonsense)?),
        };
        Ok(Listing {
            items: items.collect::<Option<_>>().ok_or(Trouble::Nonsense)?,
            next,
        })
    }

    /// Obtains one item (R28).
    ///
    /// # Errors
    /// What came between.
    pub async fn one(
        &self,
        account: &Account,
        resource: &Resource,
        id: &str,
    ) -> Result<Item, Trouble> {
        let answer = json(
            &self
                .send(account, Method::GET, &item_path(resource, id), None)
                .await?,
        )?;
        resource.item(&answer).ok_or(Trouble::Nonsense)
    }

    /// Adds an item (R29).
    ///
    /// # Errors
    /// What came between.
    pub async fn add(
        &self,
        account: &Account,
        resource: &Resource,
        item: &Value,
    ) -> Result<(), Trouble> {
        let body = Bytes::from(item.to_string());
        self.send(account, Method::POST, resource.slug, Some(body))
            .await
            .map(drop)
    }

    /// Deletes an item (R30).
    ///
    /// # Errors
    /// What came between.
    pub async fn delete(
        &self,
        account: &Account,
        resource: &Resource,
        id: &str,
    ) -> Result<(), Trouble> {
        self.send(account, Method::DELETE, &item_path(resource, id), None)
            .await
            .map(drop)
    }

    async fn send(
        &self,
        account: &Account,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, Trouble> {
        let exchange = self.exchange(account, method.clone(), path, body);
        let answer = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Trouble::TooSlow),
        };
        if let Err(trouble) = &answer {
            let request_id = trouble.told().and_then(|told| told.request_id.as_deref());
            let (handset, trouble) = (account.msisdn.masked(), trouble.explain().slug);
            tracing::info!(%handset, %method, trouble, request_id, "handset did not comply");
        }
        answer
    }

    async fn exchange(
        &self,
        account: &Account,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, Trouble> {
        let request = self.request(account, method, path, body)?;
        let response = self.client.request(request).await.map_err(|error| {
            // hyper's errors name no address and no header; the chain says refused, reset, or bad HTTP.
            tracing::warn!(error = %error, cause = error.source().map(tracing::field::display), "no answer");
            if error.is_connect() { Trouble::GatewayAway } else { Trouble::Nonsense }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.answer_bytes_max)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Trouble::TooLarge
                } else {
                    Trouble::Nonsense
                }
            })?;
        let body = body.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(Told::read(
            head.status,
            retry_after(&head.headers),
            is_problem(&head.headers),
            &body,
        )
        .into_trouble())
    }

    fn request(
        &self,
        account: &Account,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, Trouble> {
        let target = format!("/{}/{path}", account.msisdn.digits());
        // Every part is encoded above, so this can't fail; if it does, it is not the visitor's connection that dies.
        let target = PathAndQuery::try_from(target).map_err(|_why| Trouble::Nonsense)?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.gateway.clone())
            .path_and_query(target);
        let mut request = Request::builder()
            .method(method)
            .uri(uri.build().map_err(|_why| Trouble::Nonsense)?)
            .header(header::HOST, self.domain.clone())
            .header(header::AUTHORIZATION, account.authorization.clone())
            .header(
                header::ACCEPT,
                "application/json, application/problem+json;q=0.9",
            );
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|_why| Trouble::Nonsense)
    }
}

fn item_path(resource: &Resource, id: &str) -> String {
    format!("{}/{}", resource.slug, utf8_percent_encode(id, SEGMENT))
}

/// What the next page comes after: the handset names that page by its URL, whose `after` is the mark, or just the mark.
fn mark(next: &Value) -> Option<String> {
    match next {
        Value::Number(mark) => Some(mark.to_string()),
        Value::String(text) => match text.split_once('?') {
            None => Some(text.clone()),
            Some((_, query)) => {
                let mut pairs = form_urlencoded::parse(query.as_bytes());
                let (_, mark) = pairs.find(|(name, _)| name == "after")?;
                Some(mark.into_owned())
            }
        },
        _ => None,
    }
}

fn json(body: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(body).map_err(|_why| Trouble::Nonsense)
}

fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/problem+json")
}

fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}
