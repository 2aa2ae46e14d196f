//! What a page of personal data is made of: a description of a resource's fields, and items and drafts read by it.
//!
//! This is the patent's "pre configured … then filled out in execution time" (R71): one description per resource, one
//! set of pages for all of them. Adding notes means writing the description of a note, as `contacts.rs` does for
//! contacts, and naming it in `catalogue.rs`.

use serde_json::{Map, Value};

use crate::form::Form;
use crate::icon::Icon;

/// Longest item id that is believed; the handset chooses them.
const ID_BYTES_MAX: usize = 256;
/// Most entries of a listed field that are shown.
const ENTRIES_MAX: usize = 100;

/// One resource of personal data.
#[derive(Debug)]
pub struct Resource {
    /// Its path on the handset and on the portal, and the name of the list in the handset's answer.
    pub slug: &'static str,
    /// "Contacts"
    pub title: &'static str,
    /// "contact"
    pub one: &'static str,
    /// Beside the title.
    pub icon: Icon,
    /// Its fields, in the order of the pages; the first is what an item is called.
    pub fields: &'static [Field],
}

/// One field of an item.
#[derive(Debug)]
pub struct Field {
    /// Its name in JSON and in the form.
    pub key: &'static str,
    /// Its name on the page.
    pub label: &'static str,
    /// Whether an item may lack it.
    pub required: bool,
    /// Longest value that the form takes, in characters.
    pub chars_max: usize,
    /// What it holds.
    pub kind: Kind,
}

/// What a field holds.
#[derive(Debug)]
pub enum Kind {
    /// One line.
    Line(Entry),
    /// Several lines.
    Text,
    /// Entries that each have a tag: `[{"type": "cell", "number": "…"}]`.
    Listed(Listed),
}

/// A field of tagged entries.
#[derive(Debug)]
pub struct Listed {
    /// "phone"
    pub one: &'static str,
    /// The entry's name in JSON.
    pub member: &'static str,
    /// What an entry is.
    pub entry: Entry,
    /// The tag's name in JSON.
    pub tag_member: &'static str,
    /// The tags that the form offers: value and label. The first is chosen at first.
    pub tags: &'static [(&'static str, &'static str)],
    /// How many of them the form takes.
    pub rows: usize,
}

/// What one line is, for the browser's keyboards and links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Any words.
    Words,
    /// A phone number.
    Phone,
    /// An email address.
    Email,
}

/// An item as the handset told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Names it in the handset's URLs.
    pub id: String,
    /// Phone memory or SIM card (R31).
    pub store: Option<String>,
    /// Parallel to the resource's fields.
    pub values: Vec<Held>,
}

/// What a field of an item holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A line or a text, perhaps empty.
    Text(String),
    /// Tagged entries: tag and entry.
    List(Vec<(String, String)>),
}

/// What somebody typed: the inputs of an add form, by name.
#[derive(Debug, Clone, Default)]
pub struct Draft(Vec<(String, String)>);

/// An input that can't be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The input's name.
    pub input: String,
    /// What to tell whoever typed it.
    pub problem: String,
}

impl Resource {
    /// Reads one item; `None` if the handset's answer does not have the shape described.
    pub fn item(&self, json: &Value) -> Option<Item> {
        let object = json.as_object()?;
        let id = scalar(object.get("id")?)?;
        if !names_an_item(&id) {
            return None;
        }
        let store = object
            .get("store")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let values = self
            .fields
            .iter()
            .map(|field| field.held(object.get(field.key)))
            .collect::<Option<_>>()?;
        Some(Item { id, store, values })
    }

    /// What an item is called.
    pub fn name_of<'i>(&self, item: &'i Item) -> &'i str {
        match item.values.first() {
            Some(Held::Text(name)) if !name.trim().is_empty() => name,
            _ => "Without a name",
        }
    }
}

impl Field {
    /// The name of this field's only input.
    pub fn input(&self) -> String {
        self.key.to_owned()
    }

    /// The name of the input for one member of one row of a listed field.
    pub fn row_input(&self, row: usize, member: &str) -> String {
        format!("{}.{row}.{member}", self.key)
    }

    fn held(&self, value: Option<&Value>) -> Option<Held> {
        let absent = matches!(value, None | Some(Value::Null));
        match &self.kind {
            Kind::Line(_) | Kind::Text if absent => Some(Held::Text(String::new())),
            Kind::Line(_) | Kind::Text => Some(Held::Text(scalar(value?)?)),
            Kind::Listed(_) if absent => Some(Held::List(Vec::new())),
            Kind::Listed(listed) => {
                let entries = value?.as_array()?.iter().take(ENTRIES_MAX);
                entries
                    .map(|entry| listed.tagged(entry))
                    .collect::<Option<_>>()
                    .map(Held::List)
            }
        }
    }

    fn json(&self, draft: &Draft, mistakes: &mut Vec<Mistake>) -> Option<Value> {
        match &self.kind {
            Kind::Line(_) => self
                .checked(draft, self.input(), one_line, mistakes)
                .map(Value::from),
            Kind::Text => self
                .checked(draft, self.input(), many_lines, mistakes)
                .map(Value::from),
            Kind::Listed(listed) => {
                let row = |row| {
                    let entry = self.checked(
                        draft,
                        self.row_input(row, listed.member),
                        one_line,
                        mistakes,
                    )?;
                    let tag = listed.tag(draft.value(&self.row_input(row, listed.tag_member)));
                    let members = [(listed.tag_member, tag.to_owned()), (listed.member, entry)];
                    Some(
                        members
                            .into_iter()
                            .map(|(name, value)| (name.to_owned(), Value::from(value)))
                            .collect(),
                    )
                };
                let entries: Vec<Map<String, Value>> = (0..listed.rows).filter_map(row).collect();
                (!entries.is_empty()).then(|| entries.into())
            }
        }
    }

    fn checked(
        &self,
        draft: &Draft,
        input: String,
        tidy: impl Fn(&str) -> String,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<String> {
        let value = tidy(draft.value(&input));
        if value.is_empty() {
            if self.required {
                mistakes.push(Mistake {
                    input,
                    problem: format!("{} is needed.", self.label),
                });
            }
            return None;
        }
        if value.chars().count() > self.chars_max {
            mistakes.push(Mistake {
                input,
                problem: format!("At most {} characters, please.", self.chars_max),
            });
            return None;
        }
        Some(value)
    }
}

impl Listed {
    fn tagged(&self, entry: &Value) -> Option<(String, String)> {
        let object = entry.as_object()?;
        let tag = object
            .get(self.tag_member)
            .and_then(Value::as_str)
            .unwrap_or_default();
        Some((tag.to_owned(), scalar(object.get(self.member)?)?))
    }

    fn tag(&self, asked: &str) -> &'static str {
        let known = self
            .tags
            .iter()
            .find(|(value, _)| *value == asked)
            .or(self.tags.first());
        known.map_or("", |(value, _)| value)
    }

    /// The label of a tag; one that is not known is shown as it came.
    pub fn label<'t>(&self, tag: &'t str) -> &'t str
    where
        Self: 'static,
    {
        self.tags
            .iter()
            .find(|(value, _)| *value == tag)
            .map_or(tag, |(_, label)| label)
    }
}

impl Draft {
    /// Takes from a form the inputs that this resource has, and nothing else.
    pub fn from_form(resource: &Resource, form: &Form) -> Self {
        let names: Vec<String> = resource.fields.iter().flat_map(inputs_of).collect();
        let inputs = form
            .inputs()
            .filter(|(name, _)| names.iter().any(|known| known == name));
        Self(
            inputs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// What was typed into an input.
    pub fn value(&self, input: &str) -> &str {
        self.0
            .iter()
            .find(|(name, _)| name == input)
            .map_or("", |(_, value)| value)
    }

    /// The item to send to the handset: without id and store, without what was left empty.
    ///
    /// # Errors
    /// Every mistake, in the order of the page.
    pub fn json(&self, resource: &Resource) -> Result<Value, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut item = Map::new();
        for field in resource.fields {
            if let Some(value) = field.json(self, &mut mistakes) {
                item.insert(field.key.to_owned(), value);
            }
        }
        if mistakes.is_empty() {
            Ok(Value::Object(item))
        } else {
            Err(mistakes)
        }
    }
}

/// Whether an id can stand in a URL as one segment: a dot segment would not survive its way.
pub(crate) fn names_an_item(id: &str) -> bool {
    !matches!(id, "" | "." | "..") && id.len() <= ID_BYTES_MAX
}

fn inputs_of(field: &Field) -> Vec<String> {
    match &field.kind {
        Kind::Line(_) | Kind::Text => vec![field.input()],
        Kind::Listed(listed) => {
            let row =
                |row| [listed.member, listed.tag_member].map(|member| field.row_input(row, member));
            (0..listed.rows).flat_map(row).collect()
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn many_lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars()
        .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contacts::CONTACTS;

    fn draft(inputs: &[(&str, &str)]) -> Draft {
        Draft(
            inputs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_draft_becomes_json_without_what_was_left_empty() {
        let typed = draft(&[
            ("name", "  Ada\r\nLovelace "),
            ("phones.0.number", ""),
            ("phones.1.number", "+34600123456"),
            ("phones.1.type", "work"),
            ("emails.0.address", "ada@example.com"),
            ("emails.0.type", "<script>"),
            ("note", "one\r\ntwo\u{7}"),
        ]);
        assert_eq!(
            typed.json(&CONTACTS),
            Ok(json!({
                "name": "Ada Lovelace",
                "phones": [{"type": "work", "number": "+34600123456"}],
                "emails": [{"type": "home", "address": "ada@example.com"}],
                "note": "one\ntwo",
            }))
        );
    }

    #[test]
    fn every_mistake_is_told() {
        let long = "x".repeat(500);
        let mistakes = draft(&[("name", " \t"), ("organization", &long)])
            .json(&CONTACTS)
            .expect_err("two mistakes");
        let inputs: Vec<&str> = mistakes
            .iter()
            .map(|mistake| mistake.input.as_str())
            .collect();
        assert_eq!(inputs, ["name", "organization"]);
    }

    #[test]
    fn an_item_of_another_shape_is_no_item() {
        let good = json!({"id": 7, "name": "Ada", "phones": null, "colour": "red"});
        assert_eq!(
            CONTACTS.item(&good).map(|item| item.id),
            Some("7".to_owned())
        );
        for bad in [
            json!(null),
            json!([]),
            json!({"name": "no id"}),
            json!({"id": "..", "name": "dots"}),
            json!({"id": "x".repeat(257)}),
            json!({"id": "1", "name": {"first": "Ada"}}),
            json!({"id": "1", "phones": "600"}),
            json!({"id": "1", "phones": [{"type": "cell"}]}),
        ] {
            assert_eq!(CONTACTS.item(&bad), None, "{bad}");
        }
    }
}
