//! The frame of every page: head, top bar, main part; and the response it becomes, with a status and nothing to cache.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

use crate::icon::{self, Icon};
use crate::session::Account;

/// The style sheet, served under [`style_path`].
pub(crate) const STYLE: &str = include_str!("style.css");

static STYLE_NAME: LazyLock<String> = LazyLock::new(|| {
    let digest = digest::digest(&digest::SHA256, STYLE.as_bytes());
    let hex: String = digest
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("style-{hex}.css")
});

/// The style sheet's file name: it changes with its contents, so that a browser may keep it for ever.
pub(crate) fn style_name() -> &'static str {
    &STYLE_NAME
}

/// Who looks at a page, and the hidden inputs of the sign-out button in its top bar.
pub struct Viewer {
    /// The account.
    pub account: Arc<Account>,
    /// See [`crate::form::FormKey::inputs`].
    pub form_inputs: Markup,
}

/// A page to be.
pub(crate) struct Page {
    /// The response's status.
    pub status: StatusCode,
    /// In the browser's tab.
    pub title: String,
    /// `None`: nobody is signed in.
    pub viewer: Option<Viewer>,
    /// Whether the top bar offers to sign in, when nobody is.
    pub(crate) offers_sign_in: bool,
    /// Seconds until the browser is to ask again.
    pub refresh_s: Option<u32>,
    /// The main part.
    pub main: Markup,
}

impl Page {
    /// A page that is fine.
    pub(crate) fn new(title: impl Into<String>, viewer: Option<Viewer>, main: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            viewer,
            offers_sign_in: true,
            refresh_s: None,
            main,
        }
    }

    /// The same page with another status.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn render(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { (self.title) " · Everline" }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    // The name of a visitor's handset is nobody else's business: see the headers in `site.rs`.
                    meta name="format-detection" content="telephone=no";
                    link rel="stylesheet" href={ "/assets/" (style_name()) };
                    link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                }
                body {
                    a class="skip" href="#main" { "Skip to the page" }
                    (self.top_bar())
                    main id="main" tabindex="-1" { (self.main) }
                    footer { p { "Everline: your handset, from any browser." } }
                }
            }
        }
    }

    fn top_bar(&self) -> Markup {
        html! {
            header class="top" {
                a class="brand" href="/" aria-label="Everline, main page" { (icon::mark()) span { "Everline" } }
                @if let Some(viewer) = &self.viewer {
                    div class="who" {
                        span class="chip" {
                            (Icon::Handset.draw())
                            span class="number" { (number(&viewer.account)) }
                            span class="user" { bdi { (viewer.account.user) } }
                        }
                        form method="post" action="/sign-out" {
                            (viewer.form_inputs)
                            button class="quiet" type="submit" { "Sign out" }
                        }
                    }
                } @else if self.offers_sign_in {
                    a class="button quiet" href="/sign-in" { "Sign in" }
                }
            }
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.render().into_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        // Personal data: no cache keeps it, and Back after signing out shows nothing.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.refresh_s {
            headers.insert(header::REFRESH, HeaderValue::from(seconds));
        }
        response
    }
}

/// A handset's number as people write it: `+34600000001`.
pub(crate) fn number(account: &Account) -> String {
    format!("+{}", account.msisdn.digits())
}

/// The way back to the main page or to a list, above a heading.
pub(crate) fn back(href: &str, label: &str) -> Markup {
    html! { nav class="back" aria-label="Back" { a href=(href) { (Icon::Back.draw()) span { (label) } } } }
}

/// A page's one message: an icon, a heading, and what follows it.
pub(crate) fn notice(class: &str, icon: Icon, title: &str, rest: &Markup) -> Markup {
    html! {
        section class={ "notice " (class) } {
            div class="badge" { (icon.draw()) }
            h1 { (title) }
            (rest)
        }
    }
}
