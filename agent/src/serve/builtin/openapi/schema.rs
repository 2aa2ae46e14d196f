//! JSON Schemas (2020-12, as OpenAPI 3.1 has them) of what the descriptions describe.

use serde_json::{Map, Value as Json, json};

use crate::serve::builtin::problem::Kind;
use crate::serve::builtin::resource::{Action, Field, LABEL_CHARS_MAX, Resource, Shape};

/// Characters that no text may hold: control characters, and two that XML can't.
const ODD: &str = "\\u0000-\\u001f\\u007f-\\u009f\\ufffe\\uffff";

/// The same but for tabs and line breaks.
const ODD_IN_TEXT: &str =
    "\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\ufffe\\uffff";

/// The name of the schema of one item, as it is told.
pub fn item_name(resource: &Resource) -> String {
    format!("{}-item", resource.name)
}

/// The name of the schema of one item, as it is sent.
pub fn sent_name(resource: &Resource) -> String {
    format!("{}-sent", resource.name)
}

/// The name of the schema of a page of items.
pub fn list_name(resource: &Resource) -> String {
    format!("{}-list", resource.name)
}

/// What refers to a schema.
pub fn of_name(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schemas of one resource, by name.
pub fn of(resource: &Resource) -> Map<String, Json> {
    let mut schemas = Map::new();
    if resource.fields.is_empty() {
        return schemas;
    }
    schemas.insert(item_name(resource), item(resource));
    schemas.insert(sent_name(resource), sent(resource));
    schemas.insert(list_name(resource), list(resource));
    schemas
}

/// An item as it is told: what the handset gives to it included.
fn item(resource: &Resource) -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let kept = resource.is_collection();
    if kept || resource.name == "tasks" {
        properties.insert("id".to_owned(), id());
        required.push("id");
    }
    if kept {
        let memories: Vec<_> = resource.memories.iter().map(|memory| memory.name).collect();
        properties.insert(
            "store".to_owned(),
            json!({"type": "string", "enum": memories, "readOnly": true}),
        );
        required.push("store");
    }
    for field in resource.fields {
        let mut schema = shape(field, false);
        if field.given {
            schema["readOnly"] = json!(true);
        }
        properties.insert(field.name.to_owned(), schema);
        let always = matches!(field.shape, Shape::Lines { .. } | Shape::Labelled { .. });
        // Where calls go is told of each reason; one whose calls go nowhere else has no number.
        if always || (field.required && kept) {
            required.push(field.name);
        }
    }
    object(properties, &required)
}

/// An item as it is sent.
fn sent(resource: &Resource) -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in resource.fields.iter().filter(|field| !field.given) {
        properties.insert(field.name.to_owned(), shape(field, true));
        if field.required {
            required.push(field.name);
        }
    }
    object(properties, &required)
}

fn list(resource: &Resource) -> Json {
    let mut properties = Map::new();
    let items = json!({"type": "array", "items": of_name(&item_name(resource))});
    properties.insert(resource.name.to_owned(), items);
    let next = json!({"type": ["string", "null"], "format": "uri-reference"});
    properties.insert("next".to_owned(), next);
    object(properties, &[resource.name, "next"])
}

fn object(properties: Map<String, Json>, required: &[&str]) -> Json {
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn id() -> Json {
    json!({"type": "string", "pattern": "^[1-9][0-9]*$", "readOnly": true})
}

/// What a field holds. Of what is sent, a text that is required has more than white space.
pub fn shape(field: &Field, sent: bool) -> Json {
    let filled = field.required && sent;
    match field.shape {
        Shape::Line { chars_max } => text(chars_max, ODD, filled),
        Shape::Text { chars_max } => text(chars_max, ODD_IN_TEXT, filled),
        Shape::Choice(words) => json!({"type": "string", "enum": words}),
        Shape::Moment => json!({"type": "string", "format": "date-time"}),
        Shape::Number(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Lines {
            entries_max,
            chars_max,
            ..
        } => {
            let mut lines = json!({
                "type": "array",
                "items": text(chars_max, ODD, true),
                "maxItems": entries_max,
            });
            if filled {
                lines["minItems"] = json!(1);
            }
            lines
        }
        Shape::Labelled {
            label,
            value,
            entries_max,
            chars_max,
            ..
        } => {
            let mut properties = Map::new();
            properties.insert(label.to_owned(), text(LABEL_CHARS_MAX, ODD, false));
            properties.insert(value.to_owned(), text(chars_max, ODD, true));
            let required = if sent {
                vec![value]
            } else {
                vec![label, value]
            };
            json!({
                "type": "array",
                "items": object(properties, &required),
                "maxItems": entries_max,
            })
        }
    }
}

fn text(chars_max: usize, odd: &str, filled: bool) -> Json {
    let pattern = match filled {
        true => format!("^[^{odd}]*[^\\s{odd}][^{odd}]*$"),
        false => format!("^[^{odd}]*$"),
    };
    let mut schema = json!({"type": "string", "maxLength": chars_max, "pattern": pattern});
    if filled {
        schema["minLength"] = json!(1);
    }
    schema
}

/// A problem (RFC 9457).
pub fn problem() -> Json {
    let kinds = Kind::ALL.iter();
    let types: Vec<_> = kinds
        .map(|kind| format!("urn:everline:agent:{}", kind.told().1))
        .collect();
    json!({
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": types},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
            "field": {"type": "string"},
        },
        "required": ["type", "title", "status", "detail"],
    })
}

/// `GET /`.
pub fn menu() -> Json {
    json!({
        "type": "object",
        "properties": {
            "user": {"type": ["string", "null"]},
            "resources": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "href": {"type": "string", "format": "uri-reference"},
                    },
                    "required": ["name", "href"],
                },
            },
        },
        "required": ["user", "resources"],
    })
}

/// `GET /capabilities`: flags, and how long a video may be.
pub fn capabilities() -> Json {
    json!({
        "type": "object",
        "properties": {"video_s_max": {"type": "integer", "minimum": 0}},
        "additionalProperties": {"type": "boolean"},
        "required": ["video_s_max"],
    })
}

/// `GET /audit`.
pub fn audit() -> Json {
    let part = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "text": {"type": "string"}},
        "required": ["name", "text"],
        "additionalProperties": false,
    });
    let line = json!({
        "type": "object",
        "properties": {
            "id": id(),
            "at": {"type": "string", "format": "date-time"},
            "resource": {"type": "string"},
            "action": {"type": "string", "enum": Action::ALL.map(Action::name)},
            "content": {"type": "array", "items": part},
            "decision": {"type": "string"},
            "by": {"type": "string"},
            "outcome": {"type": ["string", "null"]},
            "ended": {"type": ["string", "null"], "format": "date-time"},
            "times": {"type": "integer", "minimum": 1},
        },
        "required": ["id", "at", "resource", "action", "content", "decision", "by", "outcome", "ended", "times"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "audit": {"type": "array", "items": line},
            "next": {"type": ["string", "null"], "format": "uri-reference"},
        },
        "required": ["audit", "next"],
        "additionalProperties": false,
    })
}
