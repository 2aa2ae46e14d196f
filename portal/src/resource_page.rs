//! The pages of any resource (R71, R72): its list, the form that adds, the question before deleting, and how it went.
//!
//! An action runs on its own, whether or not the browser waits for it, and is remembered under the name of its
//! submission: a page that is loaded again, or a button that is pressed twice, does nothing twice (R75).

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, Uri, header};

use crate::form::{FormError, SubmissionId};
use crate::layout::{Page, Viewer};
use crate::outcome::{Action, Outcome, Progress};
use crate::refusal::{plain, trouble_page};
use crate::resource::{Draft, Resource, names_an_item};
use crate::resource_view as view;
use crate::session::{Account, Begun};
use crate::state::{Portal, query};
use crate::trouble::Trouble;
use crate::visitor::VisitorId;

/// Somebody who is signed in, at a resource that has pages.
struct Visit {
    portal: Portal,
    resource: &'static Resource,
    visitor: VisitorId,
    account: Arc<Account>,
}

/// What a handset is asked to do.
enum Job {
    Add(serde_json::Value),
    Delete(String),
}

/// `GET /{resource}`
pub(crate) async fn list(
    State(portal): State<Portal>,
    Path(slug): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let visit = match Visit::begin(portal, &slug, &headers) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let after = query(&uri, "after");
    match visit
        .portal
        .handsets
        .list(&visit.account, visit.resource, after.as_deref())
        .await
    {
        Ok(listing) => {
            let main = view::list(visit.resource, &listing, after.is_some());
            Page::new(visit.resource.title, Some(visit.viewer()), main).into_response()
        }
        Err(trouble) => visit.trouble(&trouble, &uri),
    }
}

/// `GET /{resource}/add`, filled out again after a failure when the query names it.
pub(crate) async fn add_form(
    State(portal): State<Portal>,
    Path(slug): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let visit = match Visit::begin(portal, &slug, &headers) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let draft = match visit.outcome(&uri).map(|(_, outcome)| outcome.action) {
        Some(Action::Add(draft)) => draft,
        _ => Draft::default(),
    };
    visit.add_page(&draft, &[])
}

/// `POST /{resource}/add`
pub(crate) async fn add(
    State(portal): State<Portal>,
    Path(slug): Path<String>,
    request: Request,
) -> Response {
    let (visit, form) = match Visit::begin_action(portal, &slug, request).await {
        Ok(begun) => begun,
        Err(response) => return *response,
    };
    let draft = Draft::from_form(visit.resource, &form);
    let item = match draft.json(visit.resource) {
        Ok(item) => item,
        Err(mistakes) => return visit.add_page(&draft, &mistakes),
    };
    let subject = visit
        .resource
        .fields
        .first()
        .map_or("", |field| draft.value(&field.input()))
        .trim()
        .to_owned();
    let outcome = visit.started(Action::Add(draft), subject);
    visit.act(form.submission(), outcome, Job::Add(item)).await
}

/// `GET /{resource}/delete?id=…`: asks before anything is lost.
pub(crate) async fn delete_form(
    State(portal): State<Portal>,
    Path(slug): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let visit = match Visit::begin(portal, &slug, &headers) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let id = query(&uri, "id").unwrap_or_default();
    if !names_an_item(&id) {
        return visit.gone();
    }
    match visit
        .portal
        .handsets
        .one(&visit.account, visit.resource, &id)
        .await
    {
        Ok(item) => {
            let main = view::confirm(
                visit.resource,
                &item,
                &visit.portal.form_key.inputs(&visit.visitor),
            );
            Page::new(
                format!("Delete {}?", visit.resource.one),
                Some(visit.viewer()),
                main,
            )
            .into_response()
        }
        Err(Trouble::Missing(_)) => visit.gone(),
        Err(trouble) => visit.trouble(&trouble, &uri),
    }
}

/// `POST /{resource}/delete`
pub(crate) async fn delete(
    State(portal): State<Portal>,
    Path(slug): Path<String>,
    request: Request,
) -> Response {
    let (visit, form) = match Visit::begin_action(portal, &slug, request).await {
        Ok(begun) => begun,
        Err(response) => return *response,
    };
    let id = form.value("id").to_owned();
    if !names_an_item(&id) {
        let viewer = Some(visit.viewer());
        return plain(
            StatusCode::UNPROCESSABLE_ENTITY,
            viewer,
            "Nothing to delete",
            "The form does not say what to delete.",
        );
    }
    let subject = form.value("called").to_owned();
    let outcome = visit.started(Action::Delete(id.clone()), subject);
    visit.act(form.submission(), outcome, Job::Delete(id)).await
}

/// `GET /{resource}/outcome?of=…` (R75)
pub(crate) async fn outcome(
    State(portal): State<Portal>,
    Path(slug): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let visit = match Visit::begin(portal, &slug, &headers) {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let Some((submission, outcome)) = visit.outcome(&uri) else {
        let words = "This site remembers only the last few things that you did. Look at the list to see how it stands.";
        return plain(
            StatusCode::NOT_FOUND,
            Some(visit.viewer()),
            "That was too long ago",
            words,
        );
    };
    if let Progress::Failed(Trouble::Credentials) = outcome.progress {
        return visit.trouble(&Trouble::Credentials, &uri);
    }
    let main = view::outcome(visit.resource, submission, &outcome);
    let title = view::outcome_title(visit.resource, &outcome);
    let mut page = Page::new(title, Some(visit.viewer()), main);
    match &outcome.progress {
        Progress::UnderWay => page.refresh_s = Some(2),
        Progress::Done => {}
        Progress::Failed(trouble) => page.status = trouble.explain().status,
    }
    page.into_response()
}

impl Visit {
    fn begin(portal: Portal, slug: &str, headers: &HeaderMap) -> Result<Self, Box<Response>> {
        let Some(resource) = portal.catalogue.resource(slug) else {
            return Err(Box::new(portal.not_found(portal.viewer(headers), slug)));
        };
        let Some((visitor, account)) = portal.signed_in(headers) else {
            return Err(Box::new(
                Redirect::to(&format!("/sign-in?next={}", resource.slug)).into_response(),
            ));
        };
        Ok(Self {
            portal,
            resource,
            visitor,
            account,
        })
    }

    async fn begin_action(
        portal: Portal,
        slug: &str,
        request: Request,
    ) -> Result<(Self, crate::form::Form), Box<Response>> {
        let visit = Self::begin(portal, slug, request.headers())?;
        match visit.portal.read_form(request, Some(&visit.visitor)).await {
            Ok(form) => Ok((visit, form)),
            Err(error) => {
                if error == FormError::Foreign {
                    tracing::warn!(resource = slug, "a form without this visitor's token");
                }
                Err(Box::new(
                    visit.portal.form_refused(Some(visit.viewer()), error),
                ))
            }
        }
    }

    fn viewer(&self) -> Viewer {
        self.portal
            .viewer_of(&self.visitor, Arc::clone(&self.account))
    }

    fn started(&self, action: Action, subject: String) -> Outcome {
        Outcome {
            resource: self.resource.slug,
            action,
            subject,
            progress: Progress::UnderWay,
        }
    }

    fn outcome(&self, uri: &Uri) -> Option<(SubmissionId, Outcome)> {
        let submission = SubmissionId::parse(&query(uri, "of")?)?;
        let outcome = self.portal.sessions.outcome(&self.visitor, submission)?;
        (outcome.resource == self.resource.slug).then_some((submission, outcome))
    }

    fn add_page(&self, draft: &Draft, mistakes: &[crate::resource::Mistake]) -> Response {
        let main = view::add(
            self.resource,
            draft,
            mistakes,
            &self.portal.form_key.inputs(&self.visitor),
        );
        let page = Page::new(
            format!("Add a {}", self.resource.one),
            Some(self.viewer()),
            main,
        );
        let status = if mistakes.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        page.status(status).into_response()
    }

    /// Runs an action once, and sends the browser to the page that tells how it went.
    async fn act(self, submission: SubmissionId, outcome: Outcome, job: Job) -> Response {
        let target = format!("/{}/outcome?of={submission}", self.resource.slug);
        match self
            .portal
            .sessions
            .begin(&self.visitor, submission, outcome)
        {
            Begun::Run => {
                // A browser that goes away must not leave an action half known: it has its own task, which the
                // client's deadline ends.
                let task = tokio::spawn(async move {
                    let progress = match self.work(&job).await {
                        Ok(()) => Progress::Done,
                        Err(trouble) => Progress::Failed(trouble),
                    };
                    self.portal
                        .sessions
                        .finish(&self.visitor, submission, progress);
                });
                // However the task ended, the page tells what is known.
                let _ = task.await;
            }
            Begun::Already => {}
            Begun::Busy => {
                let words = "The handset is still at work on your last few requests. Give it a moment, then try again.";
                let page = plain(
                    StatusCode::TOO_MANY_REQUESTS,
                    Some(self.viewer()),
                    "One thing after the other",
                    words,
                );
                return ([(header::RETRY_AFTER, "5")], page).into_response();
            }
            Begun::Gone => {
                return Redirect::to(&format!("/sign-in?next={}", self.resource.slug))
                    .into_response();
            }
        }
        Redirect::to(&target).into_response()
    }

    async fn work(&self, job: &Job) -> Result<(), Trouble> {
        let handsets = &self.portal.handsets;
        match job {
            Job::Add(item) => handsets.add(&self.account, self.resource, item).await,
            Job::Delete(id) => handsets.delete(&self.account, self.resource, id).await,
        }
    }

    fn gone(&self) -> Response {
        let main = view::gone(self.resource);
        Page::new("Not there any more", Some(self.viewer()), main)
            .status(StatusCode::NOT_FOUND)
            .into_response()
    }

    fn trouble(&self, trouble: &Trouble, uri: &Uri) -> Response {
        if *trouble == Trouble::Credentials {
            // What the handset no longer accepts is worth nothing: ask again rather than fail on every page.
            self.portal.sessions.close(&self.visitor);
            return crate::sign_in::rejected(&self.portal, self.visitor, self.resource.slug);
        }
        let again = uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        trouble_page(trouble, Some(self.viewer()), again)
    }
}
