//! Signing in and out (R69): the handset's own web server judges user and password; the portal knows nobody.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use everline_protocol::Msisdn;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use maud::{Markup, html};

use crate::attempts::TooMany;
use crate::form::{Form, FormError};
use crate::icon::Icon;
use crate::layout::Page;
use crate::refusal::trouble_words;
use crate::session::Account;
use crate::state::{Caller, Portal, query};
use crate::trouble::Trouble;
use crate::visitor::VisitorId;

/// Longest user name and longest password that the form takes, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// What the form shows when it is shown again.
#[derive(Default)]
struct Typed<'a> {
    msisdn: &'a str,
    user: &'a str,
    next: &'a str,
}

/// `GET /sign-in`
pub(crate) async fn show(State(portal): State<Portal>, uri: Uri, headers: HeaderMap) -> Response {
    // The resource that somebody picked before signing in.
    let next = query(&uri, "next").unwrap_or_default();
    let typed = Typed {
        next: &next,
        ..Typed::default()
    };
    let reason = portal.catalogue.resource(&next).map(|resource| html! {
        p class="lead" { "Sign in to see the " (resource.title.to_lowercase()) " of your handset." }
    });
    form_page(
        &portal,
        portal.visitor(&headers),
        &typed,
        StatusCode::OK,
        reason,
    )
}

/// `POST /sign-in`
pub(crate) async fn submit(
    State(portal): State<Portal>,
    caller: Caller,
    request: Request,
) -> Response {
    let visitor = portal.visitor(request.headers());
    let form = match portal.read_form(request, visitor.as_ref()).await {
        Ok(form) => form,
        Err(FormError::Foreign) => {
            let reason = alert(
                "This form had expired",
                "Please fill it out once more. If this happens every time, see that \
                                your browser accepts cookies from this site.",
            );
            return form_page(
                &portal,
                visitor,
                &Typed::default(),
                StatusCode::FORBIDDEN,
                Some(reason),
            );
        }
        Err(error) => return portal.form_refused(None, error),
    };
    let typed = Typed {
        msisdn: form.value("msisdn"),
        user: form.value("user"),
        next: form.value("next"),
    };
    let again = |status, reason| form_page(&portal, visitor, &typed, status, Some(reason));
    let account = match account(&form) {
        Ok(account) => account,
        Err(problem) => {
            return again(
                StatusCode::UNPROCESSABLE_ENTITY,
                alert("That can't be right", problem),
            );
        }
    };
    if let Err(TooMany(seconds)) = portal.attempts.take(caller.0, account.msisdn) {
        let words = format!("Too many sign-ins went wrong. Try again in {seconds} seconds.");
        let page = again(
            StatusCode::TOO_MANY_REQUESTS,
            alert("Please wait a moment", &words),
        );
        return ([(header::RETRY_AFTER, seconds)], page).into_response();
    }
    match judge(&portal, &account, caller.0).await {
        Ok(()) => enter(&portal, visitor, account, typed.next),
        Err(Trouble::Credentials) => {
            let words = "The handset does not know this user name and password. Check both, and the number of the handset.";
            challenged(again(
                StatusCode::UNAUTHORIZED,
                alert("The handset did not let you in", words),
            ))
        }
        Err(trouble) => {
            let explained = trouble.explain();
            let page = again(explained.status, trouble_words(&trouble));
            let wait = trouble.told().and_then(|told| told.retry_after);
            (wait.map(|seconds| [(header::RETRY_AFTER, seconds)]), page).into_response()
        }
    }
}

/// The sign-in form for somebody whose name and password the handset has stopped accepting.
pub(crate) fn rejected(portal: &Portal, visitor: VisitorId, next: &str) -> Response {
    let typed = Typed {
        next,
        ..Typed::default()
    };
    let words = "The handset no longer accepts the user name and password that you signed in with. Sign in again.";
    let reason = alert("You have been signed out", words);
    challenged(form_page(
        portal,
        Some(visitor),
        &typed,
        StatusCode::UNAUTHORIZED,
        Some(reason),
    ))
}

/// `POST /sign-out`
pub(crate) async fn sign_out(State(portal): State<Portal>, request: Request) -> Response {
    let visitor = portal.visitor(request.headers());
    match portal.read_form(request, visitor.as_ref()).await {
        Ok(_form) => {
            if let Some(visitor) = &visitor {
                portal.sessions.close(visitor);
            }
            let gone = portal.cookie("", "; Max-Age=0");
            ([(header::SET_COOKIE, gone)], Redirect::to("/")).into_response()
        }
        Err(error) => portal.form_refused(None, error),
    }
}

async fn judge(portal: &Portal, account: &Account, source: IpAddr) -> Result<(), Trouble> {
    let Some(resource) = portal.catalogue.first_resource() else {
        return Err(Trouble::Nonsense);
    };
    let verdict = portal.handsets.judge(account, resource).await;
    // Only what the handset itself refused counts as a failure: an absent handset tells nothing about a password.
    if !matches!(verdict, Err(Trouble::Credentials)) {
        portal.attempts.give_back(source, account.msisdn);
    }
    verdict
}

fn challenged(page: Response) -> Response {
    // RFC 9110 section 15.5.2 wants a challenge with 401; browsers open no window of their own for this one.
    let challenge = HeaderValue::from_static("Cookie form-action=\"/sign-in\"");
    ([(header::WWW_AUTHENTICATE, challenge)], page).into_response()
}

fn enter(portal: &Portal, before: Option<VisitorId>, account: Account, next: &str) -> Response {
    let handset = account.msisdn.masked();
    // A new id at every sign-in: whoever planted the old cookie has nothing.
    let Ok(id) = VisitorId::random() else {
        return portal.fault();
    };
    if let Err(error) = portal.sessions.open(id, account) {
        tracing::warn!(%handset, %error, "sign-in refused");
        return portal.full();
    }
    if let Some(before) = before {
        portal.sessions.close(&before);
    }
    tracing::info!(%handset, "signed in");
    let target = portal
        .catalogue
        .resource(next)
        .map_or("/".to_owned(), |resource| format!("/{}", resource.slug));
    (
        [(header::SET_COOKIE, portal.cookie(&id.cookie(), ""))],
        Redirect::to(&target),
    )
        .into_response()
}

fn account(form: &Form) -> Result<Account, &'static str> {
    let number: String = form
        .value("msisdn")
        .chars()
        .filter(|c| !" -.()\u{a0}".contains(*c))
        .collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let msisdn = Msisdn::parse(digits.as_bytes()).map_err(|_why| {
        "The number of the handset is 5 to 15 digits, beginning with the country code, such as 34 600 000 001."
    })?;
    let (user, password) = (form.value("user").trim(), form.value("password"));
    if user.is_empty() {
        return Err("The user name is needed.");
    }
    if user.len() > NAME_BYTES_MAX || password.len() > NAME_BYTES_MAX {
        return Err("User name and password can be 256 characters long, no more.");
    }
    Account::new(msisdn, user, password)
        .ok_or("A user name can't hold a colon, and neither of the two a line break.")
}

fn alert(title: &str, words: &str) -> Markup {
    html! { div class="alert" role="alert" { (Icon::Trouble.draw()) div { strong { (title) } p { (words) } } } }
}

fn form_page(
    portal: &Portal,
    visitor: Option<VisitorId>,
    typed: &Typed<'_>,
    status: StatusCode,
    reason: Option<Markup>,
) -> Response {
    let known = visitor.is_some();
    let Some(visitor) = visitor.or_else(|| VisitorId::random().ok()) else {
        return portal.fault();
    };
    let main = html! {
        section class="card narrow" {
            h1 { "Sign in to your handset" }
            @if let Some(reason) = reason { (reason) }
            form method="post" action="/sign-in" {
                (portal.form_key.inputs(&visitor))
                @if portal.catalogue.resource(typed.next).is_some() { input type="hidden" name="next" value=(typed.next); }
                div class="field" {
                    label for="msisdn" { "Number of the handset" }
                    input id="msisdn" name="msisdn" type="tel" inputmode="tel" autocomplete="tel" required
                        maxlength="32" aria-describedby="msisdn-hint" placeholder="34 600 000 001" value=(typed.msisdn);
                    p class="hint" id="msisdn-hint" { "With its country code." }
                }
                div class="field" {
                    label for="user" { "User name" }
                    input id="user" name="user" type="text" autocomplete="username" autocapitalize="none"
                        spellcheck="false" required maxlength="128" value=(typed.user);
                }
                div class="field" {
                    label for="password" { "Password" }
                    input id="password" name="password" type="password" autocomplete="current-password" maxlength="128";
                }
                button type="submit" { "Sign in" }
            }
            p class="hint" { (Icon::Lock.draw()) span { "The handset itself checks your name and password. This site keeps \
                              them in memory until you sign out, and nowhere else." } }
        }
    };
    let mut page = Page::new("Sign in", None, main).status(status);
    page.offers_sign_in = false;
    if known {
        return page.into_response();
    }
    (
        [(header::SET_COOKIE, portal.cookie(&visitor.cookie(), ""))],
        page,
    )
        .into_response()
}
