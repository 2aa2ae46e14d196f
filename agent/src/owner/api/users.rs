//! Remote users: the owner adds them, gives them passwords, keeps them out, lets them in again, and takes them away.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::body::{gone, read, told, wrong};
use super::{Owner, Shared};
use crate::serve::builtin::authentication::users::{ChangeError, Listed};
use crate::serve::builtin::consent::Moment;
use crate::serve::builtin::problem::{Kind, Problem};

/// `GET /api/users`.
pub(super) async fn list(State(owner): Shared) -> Response {
    let users = owner.authentication.users();
    let users: Vec<_> = users.map_or(Vec::new(), |users| users.list().iter().map(user).collect());
    told(StatusCode::OK, &json!({"users": users}))
}

fn user(user: &Listed) -> Json {
    json!({
        "name": user.name,
        "since": Moment(user.created_s.saturating_mul(1_000)).rfc3339(),
        "owned": user.owned,
        "disabled": user.disabled,
        "digest": user.digest,
        "failures": user.failures,
        "locked_s": user.locked_s,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    name: String,
    password: String,
}

/// `POST /api/users`.
pub(super) async fn add(State(owner): Shared, request: Request) -> Result<Response, Problem> {
    let Added { name, password } = read(request).await?;
    let users = owner.users()?;
    users.add(&name, &password).await.map_err(problem)?;
    changed(&owner);
    let added = users.list().into_iter().find(|known| known.name == name);
    let added = added.ok_or_else(|| gone("user"))?;
    Ok(told(StatusCode::CREATED, &user(&added)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    password: String,
}

/// `PUT /api/users/{name}/password`.
pub(super) async fn password(
    State(owner): Shared,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let Password { password } = read(request).await?;
    let set = owner.users()?.set_password(&name, &password).await;
    set.map_err(problem)?;
    changed(&owner);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disabled {
    disabled: bool,
}

/// `PUT /api/users/{name}/disabled`. Whatever waits under the name of a user who is kept out is denied.
pub(super) async fn disabled(
    State(owner): Shared,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let Disabled { disabled } = read(request).await?;
    let set = owner.users()?.set_disabled(&name, disabled).await;
    set.map_err(problem)?;
    if disabled {
        owner.notifier.shut_out(&name);
    }
    changed(&owner);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/users/{name}/unlock`.
pub(super) async fn unlock(
    State(owner): Shared,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    owner.users()?.unlock(&name).map_err(problem)?;
    changed(&owner);
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/users/{name}`. The user's entries go with the user, and whatever waits under the name is denied.
pub(super) async fn delete(
    State(owner): Shared,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    owner.users()?.delete(&name).await.map_err(problem)?;
    owner.notifier.forget_user(&name).await?;
    changed(&owner);
    Ok(StatusCode::NO_CONTENT)
}

fn changed(owner: &Owner) {
    owner.users_changed.send_replace(());
}

fn problem(error: ChangeError) -> Problem {
    match error {
        ChangeError::Unknown => gone("user"),
        ChangeError::Taken => wrong("name", error.to_string()),
        ChangeError::BadName => wrong("name", error.to_string()),
        ChangeError::BadPassword | ChangeError::Password(_) => wrong("password", error.to_string()),
        ChangeError::Full => Problem::new(Kind::StoreFull, error.to_string()),
        ChangeError::Store(error) => error.into(),
    }
}
