//! Every operation of the API: its URL and method, what it takes, and what it answers.

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::operation::{Operation, header, path_number, query, told};
use super::schema::{item_name, list_name, of_name, sent_name};
use super::{PATH, schema};
use crate::serve::builtin::consent::own::PAGE_MAX as AUDIT_MAX;
use crate::serve::builtin::mime;
use crate::serve::builtin::personal_data::PAGE_ITEMS_MAX;
use crate::serve::builtin::problem::Kind;
use crate::serve::builtin::resource::{Action, Manager, Resource};
use crate::serve::builtin::tasks::TASKS;
use crate::serve::builtin::tasks::routes::WAIT_MAX;

/// Problems of hardware that is asked or told something.
const HARDWARE: [Kind; 5] = [
    Kind::UnsupportedByDevice,
    Kind::DeviceBusy,
    Kind::DeviceFailed,
    Kind::NoCoverage,
    Kind::RefusedByNetwork,
];

/// All of them.
pub fn all(resources: &[&'static Resource]) -> Vec<Operation> {
    let mut all = vec![
        Operation::new(
            "/",
            "get",
            "menu",
            "Who the caller is taken for, and what there is.",
        )
        .answers(StatusCode::OK, "The menu.", told("menu"))
        .fails([Kind::NotAcceptable]),
        Operation::new(PATH, "get", "menu", "This description.").answers(
            StatusCode::OK,
            "It.",
            vec![("application/json".to_owned(), json!({"type": "object"}))],
        ),
    ];
    for resource in resources {
        match resource.manager {
            Manager::PersonalData if resource.is_collection() => {
                all.extend(collection(resource));
                all.extend(files(resource));
                all.extend(parts(resource));
            }
            Manager::PersonalData => {}
            Manager::State => all.push(state(resource)),
            Manager::Service => all.extend(service(resource)),
        }
    }
    all.extend(tasks());
    all.push(events());
    all.push(capabilities());
    all.push(audit());
    all
}

fn collection(resource: &'static Resource) -> Vec<Operation> {
    let path = format!("/{}", resource.path());
    let one = format!("{path}/{{id}}");
    let tag = resource.name;
    let mut all = Vec::new();
    if resource.has(Action::List) {
        let mut content = told(&list_name(resource));
        let forms = resource.forms.iter().filter(|form| form.list.is_some());
        content.extend(forms.map(|form| (form.media_type.to_owned(), Json::Null)));
        all.push(
            Operation::new(&path, "get", tag, format!("One page of the {tag}."))
                .takes(paging())
                .takes([
                    query(
                        "order",
                        "Which come first.",
                        json!({"type": "string", "enum": ["oldest", "newest"]}),
                    ),
                    store(resource),
                ])
                .answers(StatusCode::OK, "A page.", content)
                .not_modified()
                .fails([Kind::BadQuery, Kind::NotAcceptable, Kind::NoSim])
                .gated(),
        );
    }
    if resource.has(Action::Add) {
        all.push(add(resource, &path));
    }
    if resource.has(Action::DeleteAll) {
        all.push(
            Operation::new(&path, "delete", tag, format!("Deletes all {tag}."))
                .takes([store(resource), if_match()])
                .answers(StatusCode::NO_CONTENT, "They are gone.", Vec::new())
                .fails([Kind::BadQuery, Kind::NoSim, Kind::Changed])
                .keyed()
                .gated(),
        );
    }
    if resource.has(Action::Get) {
        all.push(
            Operation::new(&one, "get", tag, format!("One {}.", resource.item))
                .takes([path_number("id")])
                .answers(StatusCode::OK, "It.", item_forms(resource))
                .not_modified()
                .fails([Kind::NotFound, Kind::NotAcceptable, Kind::NoSim])
                .gated(),
        );
    }
    if resource.has(Action::Delete) {
        all.push(
            Operation::new(
                &one,
                "delete",
                tag,
                format!("Deletes one {}.", resource.item),
            )
            .takes([path_number("id"), if_match()])
            .answers(StatusCode::NO_CONTENT, "It is gone.", Vec::new())
            .fails([Kind::NotFound, Kind::NoSim, Kind::Changed])
            .keyed()
            .gated(),
        );
    }
    all
}

fn add(resource: &'static Resource, path: &str) -> Operation {
    let mut operation = Operation::new(
        path,
        "post",
        resource.name,
        format!("Adds one {}.", resource.item),
    )
    .takes([store(resource)])
    .answers(StatusCode::CREATED, "It is kept.", item_forms(resource))
    .fails([
        Kind::BadQuery,
        Kind::NotAcceptable,
        Kind::NoSim,
        Kind::DoesNotFit,
        Kind::StoreFull,
    ])
    .reads_body()
    .keyed();
    if let Some(content) = &resource.content {
        let types = content.media_types.iter();
        operation.bodies = types
            .map(|media_type| ((*media_type).to_owned(), Json::Null))
            .collect();
        operation.body_required = true;
        return operation
            .asked()
            .takes([header("Slug", "A title for it (RFC 5023, 9.7).")]);
    }
    operation.bodies = sent(resource);
    let forms = resource.forms.iter().filter(|form| form.read.is_some());
    for form in forms {
        let types = [form.media_type]
            .into_iter()
            .chain(form.also_read.iter().copied());
        operation
            .bodies
            .extend(types.map(|media_type| (media_type.to_owned(), Json::Null)));
    }
    let from = json!({
        "type": "string",
        "pattern": format!("^/{}/[1-9][0-9]{{0,17}}$", resource.path()),
    });
    operation
        .gated()
        .takes([query(
            "from",
            "The URL of an item that is copied; then there is no body.",
            from,
        )])
        .fails([Kind::NotFound])
}

fn sent(resource: &Resource) -> Vec<(String, Json)> {
    vec![
        ("application/json".to_owned(), of_name(&sent_name(resource))),
        ("application/xml".to_owned(), Json::Null),
    ]
}

fn item_forms(resource: &Resource) -> Vec<(String, Json)> {
    let mut content = told(&item_name(resource));
    content.extend(
        resource
            .forms
            .iter()
            .map(|form| (form.media_type.to_owned(), Json::Null)),
    );
    let types = resource
        .content
        .iter()
        .flat_map(|content| content.media_types);
    content.extend(types.map(|media_type| ((*media_type).to_owned(), Json::Null)));
    content
}

fn paging() -> [Json; 2] {
    [
        query(
            "limit",
            "Items of the page at most.",
            json!({"type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX}),
        ),
        query(
            "after",
            "The page behind the item of this id; `next` has it.",
            json!({"type": "integer", "minimum": 0, "maximum": i64::MAX}),
        ),
    ]
}

fn store(resource: &Resource) -> Json {
    let memories: Vec<_> = resource.memories.iter().map(|memory| memory.name).collect();
    query(
        "store",
        "Which memory.",
        json!({"type": "string", "enum": memories}),
    )
}

fn if_match() -> Json {
    header("If-Match", "Only if this ETag is still what GET tells.")
}

/// The bytes of images, sounds and videos.
fn files(resource: &'static Resource) -> Vec<Operation> {
    let Some(content) = &resource.content else {
        return Vec::new();
    };
    let path = format!("/{}/{{id}}", resource.path());
    let file = |operation: Operation, types: Vec<(String, Json)>| {
        operation
            .takes([
                path_number("id"),
                header("Range", "Which bytes (RFC 9110, 14.2)."),
            ])
            .answers(StatusCode::OK, "The bytes.", types.clone())
            .answers(StatusCode::PARTIAL_CONTENT, "Some of the bytes.", types)
            .not_modified()
            .fails([
                Kind::NotFound,
                Kind::RangeNotSatisfiable,
                Kind::NoThumbnail,
                Kind::Busy,
                Kind::Changed,
            ])
            .gated()
    };
    let types = content
        .media_types
        .iter()
        .map(|t| ((*t).to_owned(), Json::Null));
    let jpeg = vec![("image/jpeg".to_owned(), Json::Null)];
    let (whole, small) = (format!("{path}/content"), format!("{path}/thumbnail"));
    vec![
        file(
            Operation::new(&whole, "get", resource.name, "The bytes themselves."),
            types.collect(),
        ),
        file(
            Operation::new(&small, "get", resource.name, "A small picture of it."),
            jpeg,
        ),
    ]
}

/// What hangs on a message.
fn parts(resource: &'static Resource) -> Option<Operation> {
    let mut forms = resource.forms.iter();
    forms.find(|form| form.media_type == mime::MEDIA_TYPE && form.kept)?;
    let path = format!("/{}/{{id}}/parts/{{number}}", resource.path());
    let any = vec![("*/*".to_owned(), Json::Null)];
    let operation = Operation::new(&path, "get", resource.name, "The bytes of one attachment.");
    Some(
        operation
            .takes([
                path_number("id"),
                path_number("number"),
                header("Range", "Which bytes (RFC 9110, 14.2)."),
            ])
            .answers(StatusCode::OK, "The bytes.", any.clone())
            .answers(StatusCode::PARTIAL_CONTENT, "Some of the bytes.", any)
            .not_modified()
            .fails([
                Kind::NotFound,
                Kind::RangeNotSatisfiable,
                Kind::Busy,
                Kind::Changed,
            ])
            .gated(),
    )
}

fn state(resource: &'static Resource) -> Operation {
    let path = format!("/{}", resource.path());
    Operation::new(
        &path,
        "get",
        resource.name,
        format!("The {} as it is now.", resource.name),
    )
    .answers(StatusCode::OK, "It.", told(&item_name(resource)))
    .not_modified()
    .fails([Kind::NotAcceptable])
    .fails(HARDWARE)
    .gated()
}

fn service(resource: &'static Resource) -> Vec<Operation> {
    let path = format!("/{}", resource.path());
    let tag = resource.name;
    let mut execute = Operation::new(&path, "post", tag, format!("Executes {tag}."))
        .answers(
            StatusCode::ACCEPTED,
            "It is under way; the task tells how far.",
            told(&item_name(&TASKS)),
        )
        .fails([
            Kind::NotAcceptable,
            Kind::NotFound,
            Kind::StoreFull,
            Kind::NotRecording,
        ])
        .fails(HARDWARE)
        .reads_body()
        .keyed()
        .gated();
    execute.bodies = sent(resource);
    execute.body_required = resource.fields.iter().any(|field| field.required);
    let mut all = vec![execute];
    if resource.has(Action::Get) {
        all.push(
            Operation::new(&path, "get", tag, format!("What {tag} is set to."))
                .answers(StatusCode::OK, "All of it.", told(&list_name(resource)))
                .fails([Kind::NotAcceptable])
                .fails(HARDWARE)
                .gated(),
        );
    }
    if resource.has(Action::Delete) {
        let words = resource
            .field("reason")
            .map(|(_, field)| schema::shape(field, true));
        let reason = words.map(|words| query("reason", "Which one; without it all.", words));
        all.push(
            Operation::new(&path, "delete", tag, format!("Cancels {tag}."))
                .takes(reason)
                .answers(StatusCode::NO_CONTENT, "It is cancelled.", Vec::new())
                .fails([Kind::BadQuery])
                .fails(HARDWARE)
                .keyed()
                .gated(),
        );
    }
    all
}

fn tasks() -> Vec<Operation> {
    let tag = TASKS.name;
    let one = "/tasks/{id}";
    let wait = json!({"type": "integer", "minimum": 1, "maximum": WAIT_MAX.as_secs()});
    let any = vec![("*/*".to_owned(), Json::Null)];
    vec![
        Operation::new("/tasks", "get", tag, "One page of the caller's own tasks.")
            .takes(paging())
            .answers(StatusCode::OK, "A page.", told(&list_name(&TASKS)))
            .fails([Kind::BadQuery, Kind::NotAcceptable]),
        Operation::new(one, "get", tag, "One of the caller's tasks.")
            .takes([
                path_number("id"),
                query("wait_s", "Seconds to wait until it is further.", wait),
            ])
            .answers(StatusCode::OK, "It.", told(&item_name(&TASKS)))
            .fails([Kind::NotFound, Kind::BadQuery, Kind::NotAcceptable]),
        Operation::new(
            one,
            "delete",
            tag,
            "Ends the task early: hangs up, stops the recording.",
        )
        .takes([path_number("id")])
        .answers(StatusCode::NO_CONTENT, "It is told to end.", Vec::new())
        .fails([Kind::NotFound, Kind::NotStoppable]),
        Operation::new(
            "/tasks/{id}/response",
            "get",
            tag,
            "The response that waits there.",
        )
        .takes([path_number("id")])
        .answers(
            StatusCode::OK,
            "What the request was answered.",
            any.clone(),
        )
        .answers(StatusCode::CREATED, "It was kept.", any.clone())
        .answers(StatusCode::ACCEPTED, "It was begun.", any.clone())
        .answers(StatusCode::NO_CONTENT, "It was done.", Vec::new())
        .answers(StatusCode::PARTIAL_CONTENT, "Some of the bytes.", any)
        .answers(StatusCode::NOT_MODIFIED, "The caller had it.", Vec::new())
        .fails(Kind::ALL.iter().copied()),
    ]
}

fn events() -> Operation {
    let stream = vec![("text/event-stream".to_owned(), Json::Null)];
    Operation::new("/events", "get", "events", "What happens, as it happens.")
        .takes([header("Last-Event-ID", "The event behind which to go on.")])
        .answers(StatusCode::OK, "Server-sent events.", stream)
        .fails([Kind::NotAcceptable, Kind::TooManyListeners])
        .asked()
}

fn capabilities() -> Operation {
    Operation::new("/capabilities", "get", "menu", "What the hardware can do.")
        .answers(StatusCode::OK, "It.", told("capabilities"))
        .fails([Kind::NotAcceptable])
}

fn audit() -> Operation {
    let most = json!({"type": "integer", "minimum": 1, "maximum": AUDIT_MAX});
    let before = json!({"type": "integer", "minimum": 1, "maximum": i64::MAX});
    Operation::new(
        "/audit",
        "get",
        "audit",
        "What the caller wanted, and what became of it.",
    )
    .takes([
        query("limit", "Lines of the page at most.", most),
        query(
            "before",
            "The page before the line of this id; `next` has it.",
            before,
        ),
    ])
    .answers(StatusCode::OK, "A page, the newest first.", told("audit"))
    .fails([Kind::BadQuery, Kind::NotAcceptable])
}
