//! The main page (R67): everything of a handset at a glance. It is served without asking any handset (R68).

use axum::extract::State;
use http::HeaderMap;
use maud::{Markup, html};

use crate::catalogue::{Entry, Group};
use crate::icon::Icon;
use crate::layout::{Page, Viewer, number};
use crate::state::Portal;

/// `GET /`
pub(crate) async fn show(State(portal): State<Portal>, headers: HeaderMap) -> Page {
    let viewer = portal.viewer(&headers);
    let main = html! {
        (greeting(viewer.as_ref()))
        @for group in portal.catalogue.0 { (part(group)) }
    };
    Page::new(
        if viewer.is_some() {
            "Your handset"
        } else {
            "Welcome"
        },
        viewer,
        main,
    )
}

fn greeting(viewer: Option<&Viewer>) -> Markup {
    match viewer {
        Some(viewer) => html! {
            section class="hero" {
                p class="over" { "Handset" }
                h1 { (number(&viewer.account)) }
                p { "Signed in as " strong { bdi { (viewer.account.user) } } ". What would you like to look after?" }
            }
        },
        None => html! {
            section class="hero" {
                h1 { "Your handset, from any browser" }
                p { "Look after what is in your phone from a bigger screen, wherever the phone is. You will be asked to \
                     sign in to your handset first." }
                p class="actions" { a class="button" href="/sign-in" { (Icon::Lock.draw()) span { "Sign in to a handset" } } }
            }
        },
    }
}

fn part(group: &Group) -> Markup {
    html! {
        section class="part" {
            h2 { (group.title) }
            p class="about" { (group.about) }
            ul class="tiles" {
                @for entry in group.entries { li { (tile(entry)) } }
            }
        }
    }
}

fn tile(entry: &Entry) -> Markup {
    let words = |about| {
        html! {
            span class="glyph" { (entry.icon.draw()) }
            span class="words" { span class="name" { (entry.title) } span class="about" { (about) } }
        }
    };
    if entry.resource.is_some() {
        html! { a class="tile" href={ "/" (entry.slug) } { (words(entry.about)) (Icon::Next.draw()) } }
    } else {
        html! { div class="tile soon" title=(entry.about) { (words("Not available yet")) } }
    }
}
