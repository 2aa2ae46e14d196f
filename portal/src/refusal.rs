//! Pages that say no: a trouble with the handset, a form that was not taken, a path that leads nowhere (R76).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};

use crate::form::FormError;
use crate::icon::Icon;
use crate::layout::{Page, Viewer, back, notice};
use crate::state::Portal;
use crate::trouble::Trouble;

/// What a trouble is, for the middle of a page that goes on.
pub(crate) fn trouble_words(trouble: &Trouble) -> Markup {
    let explained = trouble.explain();
    html! {
        div class="alert" role="alert" {
            (Icon::Trouble.draw())
            div { strong { (explained.title) } (trouble_rest(trouble)) }
        }
    }
}

/// What happened, the handset's own words, and what to do.
pub(crate) fn trouble_rest(trouble: &Trouble) -> Markup {
    let explained = trouble.explain();
    let told = trouble.told();
    // The gateway's words say the same in its own language; the handset's are worth reading.
    let said = told
        .filter(|_| !matches!(trouble, Trouble::Gateway(_)))
        .and_then(|told| told.said.as_deref());
    html! {
        p { (explained.happened) }
        @if let Some(said) = said {
            figure class="said" { figcaption { "The handset says:" } blockquote dir="auto" { (said) } }
        }
        p { (explained.advice) }
        @if let Some(seconds) = told.and_then(|told| told.retry_after) {
            p class="hint" { "Worth another try in " (seconds) (if seconds == 1 { " second." } else { " seconds." }) }
        }
        @if let Some(id) = told.and_then(|told| told.request_id.as_deref()) {
            p class="hint" { "Reference: " code { (id) } }
        }
    }
}

/// A whole page on a trouble, with a way to try again.
pub(crate) fn trouble_page(trouble: &Trouble, viewer: Option<Viewer>, again: &str) -> Response {
    let explained = trouble.explain();
    let rest = html! {
        (trouble_rest(trouble))
        p class="actions" {
            a class="button" href=(again) { "Try again" }
            a class="button quiet" href="/" { "Main page" }
        }
    };
    let main = notice("bad", Icon::Trouble, explained.title, &rest);
    let mut response = Page::new(explained.title, viewer, main)
        .status(explained.status)
        .into_response();
    if let Some(seconds) = trouble.told().and_then(|told| told.retry_after) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A page that says one thing.
pub(crate) fn plain(
    status: StatusCode,
    viewer: Option<Viewer>,
    title: &str,
    words: &str,
) -> Response {
    let rest =
        html! { p { (words) } p class="actions" { a class="button" href="/" { "Main page" } } };
    Page::new(title, viewer, notice("bad", Icon::Trouble, title, &rest))
        .status(status)
        .into_response()
}

impl Portal {
    /// A form that was not taken.
    pub fn form_refused(&self, viewer: Option<Viewer>, error: FormError) -> Response {
        let words = match error {
            FormError::Foreign => {
                "It was not sent from a page of this site, or the page was too old. Nothing was done. \
                                   Go back, load the page again, and try once more."
            }
            FormError::NotAForm => "What came is not a form.",
            FormError::TooLarge => {
                "What you typed is longer than this site takes. Nothing was done."
            }
            FormError::Incomplete => "The form did not arrive whole. Nothing was done.",
        };
        plain(error.status(), viewer, "The form was not accepted", words)
    }

    /// Nothing is here; or not yet.
    pub fn not_found(&self, viewer: Option<Viewer>, path: &str) -> Response {
        let slug = path.trim_matches('/').split('/').next().unwrap_or_default();
        match self.catalogue.entry(slug) {
            Some(entry) if entry.resource.is_none() => {
                let rest = html! {
                    p { "This part of the portal is not there yet. The handset has not been asked for anything." }
                };
                let title = format!("{}: not available yet", entry.title);
                let main =
                    html! { (back("/", "Main page")) (notice("", entry.icon, &title, &rest)) };
                Page::new(title, viewer, main)
                    .status(StatusCode::NOT_FOUND)
                    .into_response()
            }
            _ => {
                let words =
                    "There is no page at this address. The main page has everything there is.";
                plain(StatusCode::NOT_FOUND, viewer, "Nothing here", words)
            }
        }
    }

    /// Every session is taken.
    pub fn full(&self) -> Response {
        let words =
            "As many people as this site can serve are signed in. Try again in a few minutes.";
        let page = plain(
            StatusCode::SERVICE_UNAVAILABLE,
            None,
            "Every place is taken",
            words,
        );
        ([(header::RETRY_AFTER, "120")], page).into_response()
    }

    /// Too many requests at once.
    pub fn busy(&self) -> Response {
        let words = "More requests came in than this site can answer at once. Nothing was done. Try again in a moment.";
        let page = plain(
            StatusCode::SERVICE_UNAVAILABLE,
            None,
            "Too much is going on",
            words,
        );
        ([(header::RETRY_AFTER, "2")], page).into_response()
    }

    /// Our own fault.
    pub fn fault(&self) -> Response {
        let words =
            "Something went wrong in this web site, not in your handset. Try again in a moment.";
        plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            None,
            "Something went wrong here",
            words,
        )
    }
}
