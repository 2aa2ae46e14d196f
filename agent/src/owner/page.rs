//! The owner's page: one document, one script, one style, one picture, all inside the program.

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;

const SCREEN: &str = include_str!("page/screen.html");
const SIGN_IN: &str = include_str!("page/sign-in.html");

/// Where the sign-in page says what went wrong.
const FAULT: &str = "<!-- fault -->";

/// What it says after a wrong secret.
pub(super) const WRONG: &str =
    "That is not the owner’s secret. It is the one line of the file that the agent's log names.";

/// What it says after too many.
pub(super) const SLOWED: &str = "Too many wrong secrets came. Wait a few seconds, then try again.";

/// What the page is made of; it tells nothing of the handset.
pub(super) fn routes() -> Router {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    const ASSETS: [(&str, &str, &str); 10] = [
        (
            "/screen.css",
            "text/css; charset=utf-8",
            include_str!("page/screen.css"),
        ),
        ("/screen.js", SCRIPT, include_str!("page/screen.js")),
        ("/home.js", SCRIPT, include_str!("page/home.js")),
        ("/sheet.js", SCRIPT, include_str!("page/sheet.js")),
        ("/views.js", SCRIPT, include_str!("page/views.js")),
        ("/controls.js", SCRIPT, include_str!("page/controls.js")),
        ("/words.js", SCRIPT, include_str!("page/words.js")),
        ("/net.js", SCRIPT, include_str!("page/net.js")),
        ("/dom.js", SCRIPT, include_str!("page/dom.js")),
        ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ];
    ASSETS
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(
                path,
                get(move || async move { ([(CONTENT_TYPE, kind)], text) }),
            )
        })
}

/// The owner's screen.
pub(super) fn screen() -> Response {
    Html(SCREEN).into_response()
}

/// The way in, with what went wrong before; a text of this file, so nothing in it needs escaping.
pub(super) fn sign_in(fault: &'static str) -> Response {
    let told = match fault {
        "" => String::new(),
        fault => format!("<p class=\"fault\" role=\"alert\" id=\"fault\">{fault}</p>"),
    };
    Html(SIGN_IN.replace(FAULT, &told)).into_response()
}
