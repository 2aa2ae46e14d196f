//! What every page has at hand: the portal's parts, who is asking, and the cookie that says so. It starts nothing.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri};
use tokio::sync::Semaphore;

use crate::attempts::Attempts;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::Config;
use crate::form::{Form, FormError, FormKey};
use crate::handset::Handsets;
use crate::layout::Viewer;
use crate::session::{Account, Sessions};
use crate::visitor::VisitorId;

/// The portal, cheap to clone.
#[derive(Clone)]
pub struct Portal(Arc<Inside>);

/// The portal's parts.
pub struct Inside {
    /// As the operator wants it.
    pub config: Config,
    /// What the menu leads to.
    pub catalogue: Catalogue,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Who has failed to.
    pub attempts: Attempts,
    /// The way to the handsets.
    pub handsets: Handsets,
    /// Vouches for forms.
    pub form_key: FormKey,
    /// One permit for each request being answered.
    pub requests: Semaphore,
}

impl Portal {
    /// A portal with nobody signed in.
    ///
    /// # Errors
    /// The machine has no randomness to give.
    pub fn new(
        config: Config,
        catalogue: Catalogue,
        clock: Clock,
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        Ok(Self(Arc::new(Inside {
            catalogue,
            sessions: Sessions::new(config.session, clock.clone()),
            attempts: Attempts::new(config.session.sign_ins_per_minute, clock),
            handsets: Handsets::new(&config),
            form_key: FormKey::generate()?,
            requests: Semaphore::new(config.limits.requests_max),
            config,
        })))
    }

    /// Who is asking, if they have been here before.
    pub fn visitor(&self, headers: &HeaderMap) -> Option<VisitorId> {
        VisitorId::from_cookies(headers, self.cookie_name())
    }

    /// Who is asking, if they are signed in.
    pub fn signed_in(&self, headers: &HeaderMap) -> Option<(VisitorId, Arc<Account>)> {
        let visitor = self.visitor(headers)?;
        let account = self.sessions.account(&visitor)?;
        Some((visitor, account))
    }

    /// The same, for the top bar of a page.
    pub fn viewer(&self, headers: &HeaderMap) -> Option<Viewer> {
        let (visitor, account) = self.signed_in(headers)?;
        Some(self.viewer_of(&visitor, account))
    }

    /// The top bar's view of somebody who is signed in.
    pub fn viewer_of(&self, visitor: &VisitorId, account: Arc<Account>) -> Viewer {
        Viewer {
            account,
            form_inputs: self.form_key.inputs(visitor),
        }
    }

    /// Reads a form within the configured limits.
    ///
    /// # Errors
    /// See `FormError`.
    pub async fn read_form(
        &self,
        request: Request,
        visitor: Option<&VisitorId>,
    ) -> Result<Form, FormError> {
        let limits = &self.config.limits;
        self.form_key
            .read(request, visitor, limits.form_bytes_max, limits.read_timeout)
            .await
    }

    /// The cookie that makes a visitor known: unreadable to scripts, never sent along from other sites.
    pub fn cookie(&self, value: &str, more: &str) -> HeaderValue {
        let secure = if self.config.exposure.tls_in_front {
            "; Secure"
        } else {
            ""
        };
        let cookie = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}",
            self.cookie_name()
        );
        HeaderValue::try_from(cookie).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn cookie_name(&self) -> &'static str {
        // The prefix has browsers refuse a cookie of this name from any other host, or over plain HTTP.
        if self.config.exposure.tls_in_front {
            "__Host-everline_portal"
        } else {
            "everline_portal"
        }
    }
}

impl Deref for Portal {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.0
    }
}

/// The first value of this name in a query.
pub(crate) fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The other end of a request's connection; the server puts it there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub IpAddr);

/// Where a request comes from: the peer, or what a trusted proxy says of its own peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub IpAddr);

impl FromRequestParts<Portal> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<Peer>()
            .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0);
        if !portal.config.exposure.trust_proxy {
            return Ok(Self(peer));
        }
        // The last entry is the proxy's own; those before it are whatever the caller wrote.
        let forwarded = parts.headers.get_all("x-forwarded-for").iter().next_back();
        let last = forwarded
            .and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Ok(Self(last.unwrap_or(peer)))
    }
}
