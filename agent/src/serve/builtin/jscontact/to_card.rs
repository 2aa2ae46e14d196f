//! A JSContact card as vCard 4.0 (RFC 9555, section 3).

use serde_json::{Map, Value as Json};

use super::parts::{
    NAME, NAME_9554, address, anniversary, components, compound, organization, push, sort_as, take,
};
use super::{CONTEXTS, FEATURES, MEMBERS, SIMPLE, Simple};
use crate::serve::builtin::content_line::{Property, escape};
use crate::serve::builtin::resource::FieldError;
use crate::serve::builtin::vcard::Card;

type Object = Map<String, Json>;

/// Properties of one card at most.
const PROPERTIES_MAX: usize = 1_000;

/// The card, every member of it: what vCard has no property for goes into JSPROP.
pub fn card(object: Object) -> Result<Card, FieldError> {
    let fault = |field: &str, fault: &str| Err(FieldError::new(field, fault));
    match object.get("@type") {
        None => {}
        Some(Json::String(kind)) if kind == "Card" => {}
        Some(_) => return fault("@type", "must be Card"),
    }
    match object.get("version") {
        None => {}
        Some(Json::String(version)) if version == "1.0" => {}
        Some(_) => return fault("version", "must be 1.0"),
    }
    let mut onto = Onto {
        properties: vec![Property::raw("VERSION", "4.0")],
        groups: 0,
    };
    for (key, value) in object {
        // Before there are any: each takes time by how many there are already.
        let entries = match &value {
            Json::Object(entries) => entries.len(),
            Json::Array(rows) => rows.len(),
            _ => 1,
        };
        let room = onto.properties.len() + entries <= PROPERTIES_MAX;
        if room {
            onto.member(&key, value);
        }
        if !room || onto.properties.len() > PROPERTIES_MAX {
            return fault(&key, "makes more than 1000 properties of this card");
        }
    }
    // vCard asks for a name; JSContact does not.
    if !onto.properties.iter().any(|p| p.name == "FN") {
        onto.properties.insert(1, Property::raw("FN", ""));
    }
    Ok(Card {
        line: 0,
        properties: onto.properties,
    })
}

struct Onto {
    properties: Vec<Property>,
    /// Groups that were named here so far.
    groups: usize,
}

impl Onto {
    fn member(&mut self, key: &str, value: Json) {
        if ["@type", "version"].contains(&key) {
            return;
        }
        let left = match (key, value) {
            ("uid", Json::String(uid)) => self.text_or_uri("UID", &uid),
            ("prodId", Json::String(id)) => self.add(Property::of_text("PRODID", &id)),
            ("language", Json::String(tag)) => self.add(Property::of_text("LANGUAGE", &tag)),
            ("kind", Json::String(kind)) => self.add(Property::of_text("KIND", &kind)),
            ("updated", Json::String(at)) => self.moment("REV", at),
            ("created", Json::String(at)) => self.moment("CREATED", at),
            ("keywords", Json::Object(words)) => self.keywords(words),
            ("members", Json::Object(members)) => {
                for (uid, _) in members {
                    self.add(Property::raw("MEMBER", uid));
                }
                None
            }
            ("relatedTo", Json::Object(relations)) => {
                for (uid, relation) in relations {
                    self.relation(&uid, &relation);
                }
                None
            }
            ("name", Json::Object(name)) => self.name(name),
            ("vCardProps", Json::Array(rows)) => {
                for row in rows {
                    self.jcard(&row);
                }
                None
            }
            (map, Json::Object(entries)) if is_map(map) => {
                for (id, entry) in entries {
                    match entry {
                        Json::Object(object) => self.entry(map, &id, object),
                        other => self.jsprop(&[map, &id], &other),
                    }
                }
                None
            }
            (_, other) => Some(other),
        };
        if let Some(left) = left {
            self.jsprop(&[key], &left);
        }
    }

    /// `None`, for use as "nothing is left".
    fn add(&mut self, property: Property) -> Option<Json> {
        self.properties.push(property);
        None
    }

    fn text_or_uri(&mut self, name: &str, value: &str) -> Option<Json> {
        match crate::serve::builtin::vcard::upgrade::is_uri(value) {
            true => self.add(Property::raw(name, value)),
            false => self.add(Property::of_text(name, value).with("VALUE", "text")),
        }
    }

    fn moment(&mut self, name: &str, at: String) -> Option<Json> {
        let basic: String = at.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let plain = basic.len() == 16 && basic.ends_with('Z') && basic.get(8..9) == Some("T");
        match plain {
            true => self.add(Property::raw(name, basic)),
            false => Some(Json::String(at)),
        }
    }

    fn keywords(&mut self, words: Object) -> Option<Json> {
        if !words.is_empty() {
            let list: Vec<_> = words.keys().map(|word| escape(word)).collect();
            self.add(Property::raw("CATEGORIES", list.join(",")));
        }
        None
    }

    fn relation(&mut self, uid: &str, relation: &Json) {
        // What the property has no place for goes with the whole of it, at its place.
        let plain = relation.as_object().is_some_and(|relation| {
            relation
                .keys()
                .all(|key| ["@type", "relation"].contains(&key.as_str()))
        });
        if !plain {
            return self.jsprop(&["relatedTo", uid], relation);
        }
        let kinds = relation.get("relation").and_then(Json::as_object);
        let kinds: Vec<_> = kinds
            .into_iter()
            .flatten()
            .map(|(kind, _)| kind.clone())
            .collect();
        let mut property = match crate::serve::builtin::vcard::upgrade::is_uri(uid) {
            true => Property::raw("RELATED", uid),
            false => Property::of_text("RELATED", uid).with("VALUE", "text"),
        };
        if !kinds.is_empty() {
            push(&mut property, "TYPE", kinds);
        }
        self.properties.push(property);
    }

    /// What no property holds, at its place in the card (RFC 9555, 3.2.1).
    fn jsprop(&mut self, path: &[&str], value: &Json) {
        let tokens: Vec<_> = path
            .iter()
            .map(|token| token.replace('~', "~0").replace('/', "~1"))
            .collect();
        let property =
            Property::of_text("JSPROP", &value.to_string()).with("JSPTR", tokens.join("/"));
        self.properties.push(property);
    }

    fn name(&mut self, mut name: Object) -> Option<Json> {
        name.remove("@type");
        let parts = components(&name);
        let full = match name.get("full") {
            Some(Json::String(full)) => full.clone(),
            _ => {
                let parts: Vec<_> = parts
                    .iter()
                    .flatten()
                    .map(|(_, value)| value.as_str())
                    .collect();
                parts.join(" ")
            }
        };
        let derived = !matches!(name.remove("full"), Some(Json::String(_)));
        let property = Property::of_text("FN", &full);
        self.properties.push(match derived {
            true => property.with("DERIVED", "true"),
            false => property,
        });
        // Components of kinds that N does not have stay where they were.
        let value = parts.and_then(|parts| compound(&parts, NAME, NAME_9554));
        if let Some(value) = value {
            name.remove("components");
            let mut property = Property::raw("N", value);
            if let Some(sort) = sort_as(&name) {
                name.remove("sortAs");
                push(&mut property, "SORT-AS", vec![sort]);
            }
            self.properties.push(property);
        }
        for (member, value) in name {
            self.jsprop(&["name", &member], &value);
        }
        None
    }

    /// One object of a map. What of it has no place in its property follows in JSPROP.
    fn entry(&mut self, map: &str, id: &str, mut object: Object) {
        let whole = Json::Object(object.clone());
        object.remove("@type");
        let property = match map {
            "nicknames" => {
                take(&mut object, "name").map(|name| Property::of_text("NICKNAME", &name))
            }
            "organizations" => Some(organization(&mut object)),
            "addresses" => Some(address(&mut object)),
            "anniversaries" => anniversary(&mut object),
            _ => simple(map, &mut object),
        };
        let Some(mut property) = property else {
            self.jsprop(&[map, id], &whole);
            return;
        };
        push(&mut property, "PROP-ID", vec![id.to_owned()]);
        let label = take(&mut object, "label");
        describe(&mut property, &mut object);
        if label.is_some() && property.group.is_none() {
            let taken = |group: &str| {
                self.properties
                    .iter()
                    .any(|p| p.group.as_deref() == Some(group))
            };
            let mut groups = (self.groups + 1..).map(|n| (n, format!("js{n}")));
            if let Some((number, group)) = groups.find(|(_, group)| !taken(group)) {
                self.groups = number;
                property.group = Some(group);
            }
        }
        let group = property.group.clone();
        self.properties.push(property);
        if let Some(label) = label {
            let label = Property::of_text("X-ABLABEL", &label);
            self.properties.push(Property { group, ..label });
        }
        for (member, value) in object {
            match value {
                // What is left of a set beside the words that became types.
                Json::Object(words) if ["contexts", "features"].contains(&&*member) => {
                    for (word, said) in words {
                        self.jsprop(&[map, id, &member, &word], &said);
                    }
                }
                value => self.jsprop(&[map, id, &member], &value),
            }
        }
    }

    /// A property that came as jCard (RFC 7095).
    fn jcard(&mut self, row: &Json) {
        let parts = row.as_array().map(Vec::as_slice).unwrap_or_default();
        let [
            Json::String(name),
            Json::Object(params),
            Json::String(kind),
            values @ ..,
        ] = parts
        else {
            return self.jsprop(&["vCardProps"], &Json::Array(vec![row.clone()]));
        };
        let proper = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if name.is_empty() || !name.bytes().all(proper) {
            return self.jsprop(&["vCardProps"], &Json::Array(vec![row.clone()]));
        }
        let values: Vec<_> = values
            .iter()
            .map(|value| jcard_value(value, kind))
            .collect();
        let mut property = Property::raw(&name.to_ascii_uppercase(), values.join(","));
        if kind != "unknown" {
            push(&mut property, "VALUE", vec![kind.to_ascii_lowercase()]);
        }
        put_params(&mut property, params);
        self.properties.push(property);
    }
}

/// Whether a member of the card is a map of objects that become properties.
fn is_map(key: &str) -> bool {
    ["nicknames", "organizations", "addresses", "anniversaries"].contains(&key)
        || SIMPLE.iter().any(|simple| simple.map == key)
}

fn jcard_value(value: &Json, kind: &str) -> String {
    match value {
        Json::String(text) if kind == "text" => escape(text),
        Json::String(text) => text.replace(['\r', '\n'], " "),
        Json::Array(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| jcard_value(part, kind)).collect();
            parts.join(";")
        }
        other => other.to_string(),
    }
}

fn simple(map: &str, object: &mut Object) -> Option<Property> {
    let kind = object.get("kind").and_then(Json::as_str).map(str::to_owned);
    let is_impp = object.get("vCardName").and_then(Json::as_str) == Some("impp");
    let fits = |simple: &&Simple| {
        simple.map == map
            && match simple.property {
                "IMPP" => is_impp,
                // A title's kind is `title` where none is said.
                "TITLE" => kind.is_none() || kind.as_deref() == Some("title"),
                _ => simple.kind == kind.as_deref() || (simple.kind.is_none() && kind.is_none()),
            }
    };
    let simple = SIMPLE.iter().find(fits)?;
    let value = take(object, simple.member)?;
    object.remove("kind");
    if is_impp {
        object.remove("vCardName");
    }
    let mut property = match simple.member {
        "uri" => Property::raw(simple.property, value),
        "number" if value.starts_with("tel:") => Property::raw("TEL", value).with("VALUE", "uri"),
        _ => Property::of_text(simple.property, &value),
    };
    for (param, member) in MEMBERS {
        if let Some(said) = take(object, member) {
            push(&mut property, param, vec![said]);
        }
    }
    if let Some(level) = take(object, "level") {
        let level = match (simple.property, level.as_str()) {
            ("EXPERTISE", "low") => "beginner".to_owned(),
            ("EXPERTISE", "medium") => "average".to_owned(),
            ("EXPERTISE", "high") => "expert".to_owned(),
            _ => level,
        };
        push(&mut property, "LEVEL", vec![level]);
    }
    if let Some(index) = object.get("listAs").and_then(Json::as_u64) {
        object.remove("listAs");
        push(&mut property, "INDEX", vec![index.to_string()]);
    }
    Some(property)
}

/// Contexts, features, preference and the parameters of a vCard once.
fn describe(property: &mut Property, object: &mut Object) {
    let mut types = Vec::new();
    for (member, table) in [("contexts", CONTEXTS), ("features", FEATURES)] {
        let Some(Json::Object(words)) = object.get_mut(member) else {
            continue;
        };
        words.retain(|word, said| {
            let row = table.iter().find(|(_, meant)| meant == word);
            match row.filter(|_| *said == Json::Bool(true)) {
                Some((name, _)) => {
                    types.push((*name).to_owned());
                    false
                }
                None => true,
            }
        });
        if words.is_empty() {
            object.remove(member);
        }
    }
    if !types.is_empty() {
        push(property, "TYPE", types);
    }
    if let Some(pref) = object.get("pref").and_then(Json::as_u64) {
        object.remove("pref");
        push(property, "PREF", vec![pref.to_string()]);
    }
    if let Some(Json::Object(params)) = object.get("vCardParams") {
        put_params(property, params);
        object.remove("vCardParams");
    }
}

fn put_params(property: &mut Property, params: &Object) {
    let proper = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    for (name, value) in params.iter().filter(|(name, _)| proper(name)) {
        let text = |value: &Json| match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        let values = match value {
            Json::Array(values) => values.iter().map(text).collect(),
            one => vec![text(one)],
        };
        match values.as_slice() {
            [group] if name == "group" && proper(group) => property.group = Some(group.clone()),
            _ => push(property, &name.to_ascii_uppercase(), values),
        }
    }
}
