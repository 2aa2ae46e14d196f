//! What one operation is made of, and what many of them have in common.

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::schema::{item_name, of_name};
use crate::serve::builtin::idempotency::KEY_BYTES_MAX;
use crate::serve::builtin::problem::Kind;
use crate::serve::builtin::tasks::TASKS;

/// One method of one URL.
#[derive(Debug)]
pub struct Operation {
    /// `/contacts/{id}`.
    pub path: String,
    /// Lower case: `get`.
    pub method: &'static str,
    /// Names it, once in the whole document.
    pub id: String,
    /// What it does.
    pub summary: String,
    /// The resource, or what else it belongs to.
    pub tag: &'static str,
    /// Of the path, the query and the header.
    pub parameters: Vec<Json>,
    /// Media types of the body that it takes, with their schemas; none: no body.
    pub bodies: Vec<(String, Json)>,
    /// Whether there has to be a body.
    pub body_required: bool,
    /// What it answers if nothing is wrong.
    pub answers: Vec<Answer>,
    /// What may be wrong, beside what may be wrong with any request.
    pub problems: Vec<Kind>,
}

/// One answer that is no problem.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What it means.
    pub description: &'static str,
    /// Media types of its body with their schemas; `Null`: none.
    pub content: Vec<(String, Json)>,
    /// Whether it has a `Location`.
    pub located: bool,
}

impl Operation {
    pub(super) fn new(
        path: &str,
        method: &'static str,
        tag: &'static str,
        summary: impl Into<String>,
    ) -> Self {
        let name: String = path
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        Self {
            path: path.to_owned(),
            method,
            id: format!("{method}{name}").trim_end_matches('-').to_owned(),
            summary: summary.into(),
            tag,
            parameters: Vec::new(),
            bodies: Vec::new(),
            body_required: false,
            answers: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn takes(mut self, parameters: impl IntoIterator<Item = Json>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    pub(super) fn fails(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        for kind in kinds {
            if !self.problems.contains(&kind) {
                self.problems.push(kind);
            }
        }
        self
    }

    pub(super) fn answers(
        mut self,
        status: StatusCode,
        description: &'static str,
        content: Vec<(String, Json)>,
    ) -> Self {
        let located = matches!(status, StatusCode::CREATED | StatusCode::ACCEPTED);
        self.answers.push(Answer {
            status,
            description,
            content,
            located,
        });
        self
    }

    pub(super) fn not_modified(self) -> Self {
        self.takes([header("If-None-Match", "An ETag that was told before.")])
            .answers(
                StatusCode::NOT_MODIFIED,
                "The caller has it already.",
                Vec::new(),
            )
    }

    /// What the owner may be asked about (R52 to R64).
    pub(super) fn asked(self) -> Self {
        self.fails([
            Kind::Denied,
            Kind::DeniedNow,
            Kind::NoAnswer,
            Kind::TooManyPrompts,
        ])
    }

    /// The same, where whoever prefers a task gets one.
    pub(super) fn gated(self) -> Self {
        let prefer = header(
            "Prefer",
            "`respond-async`: answer with a task if the owner has to be asked.",
        );
        let asked = self.takes([prefer]).asked().fails([Kind::TooManyTasks]);
        match asked
            .answers
            .iter()
            .any(|a| a.status == StatusCode::ACCEPTED)
        {
            true => asked,
            false => asked.answers(
                StatusCode::ACCEPTED,
                "The owner is being asked.",
                told(&item_name(&TASKS)),
            ),
        }
    }

    /// What may be sent twice and is done once.
    pub(super) fn keyed(self) -> Self {
        let key = json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "Two requests with the same key are done once.",
            "schema": {"type": "string", "pattern": format!("^[!-~]{{1,{KEY_BYTES_MAX}}}$")},
        });
        self.takes([key])
            .fails([Kind::BadKey, Kind::KeyReused, Kind::InProgress])
    }

    pub(super) fn reads_body(self) -> Self {
        self.fails([
            Kind::BadItem,
            Kind::TooLarge,
            Kind::UnsupportedMediaType,
            Kind::BodyTimeout,
        ])
    }
}

/// JSON and XML of this schema.
pub(super) fn told(name: &str) -> Vec<(String, Json)> {
    vec![
        ("application/json".to_owned(), of_name(name)),
        ("application/xml".to_owned(), Json::Null),
    ]
}

pub(super) fn header(name: &str, description: &str) -> Json {
    // Whatever it holds that means nothing is passed over, as HTTP wants it.
    let schema = json!({"type": "string"});
    json!({"name": name, "in": "header", "description": description, "schema": schema})
}

pub(super) fn query(name: &str, description: &str, schema: Json) -> Json {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

pub(super) fn path_number(name: &str) -> Json {
    let schema = json!({"type": "string", "pattern": "^[1-9][0-9]{0,17}$"});
    json!({"name": name, "in": "path", "required": true, "schema": schema, "example": "1"})
}
