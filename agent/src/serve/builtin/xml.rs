//! Items as XML: what a caller gets who prefers it, and what it may send.
//!
//! The same description as for JSON: text fields are elements, a labelled entry is an element with its label as an
//! attribute. A document type or an entity of its own is refused, so nothing in a body can expand.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use super::json::{GIVEN, unknown};
use super::personal_data::Page;
use super::resource::{Entry, FieldError, Item, LABEL_DEFAULT, Resource, Shape, Value};
use super::store::Stored;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// One stored item: `<contact id="1" store="phone">…</contact>`. What is not kept has no id, and no store either.
pub fn item(resource: &Resource, stored: &Stored) -> Vec<u8> {
    let mut out = DECLARATION.to_owned();
    write_item(&mut out, resource, stored);
    out.push('\n');
    out.into_bytes()
}

/// One page of a list: `<contacts next="…">…</contacts>`, without `next` on the last page.
pub fn list(resource: &Resource, page: &Page) -> Vec<u8> {
    let mut out = DECLARATION.to_owned();
    let _ = write!(out, "<{}", resource.name);
    if let Some(next) = &page.next {
        let _ = write!(out, " next=\"{}\"", escape(next));
    }
    out.push_str(">\n");
    for stored in &page.items {
        write_item(&mut out, resource, stored);
        out.push('\n');
    }
    let _ = writeln!(out, "</{}>", resource.name);
    out.into_bytes()
}

fn write_item(out: &mut String, resource: &Resource, stored: &Stored) {
    let Stored {
        id, store, item, ..
    } = stored;
    let _ = write!(out, "<{}", resource.item);
    if *id != 0 {
        let _ = write!(out, " id=\"{id}\"");
    }
    if !store.is_empty() {
        let _ = write!(out, " store=\"{}\"", escape(store));
    }
    out.push('>');
    for (field, value) in resource.fields.iter().zip(item.values()) {
        match (&field.shape, value) {
            (_, Some(Value::Text(text))) => {
                let _ = write!(out, "<{0}>{1}</{0}>", field.name, escape(text));
            }
            (_, Some(Value::Number(number))) => {
                let _ = write!(out, "<{0}>{number}</{0}>", field.name);
            }
            (_, Some(Value::Flag(flag))) => {
                let _ = write!(out, "<{0}>{flag}</{0}>", field.name);
            }
            (Shape::Lines { element, .. }, Some(Value::Lines(lines))) => {
                for line in lines {
                    let _ = write!(out, "<{element}>{}</{element}>", escape(line));
                }
            }
            (Shape::Labelled { element, label, .. }, Some(Value::Entries(entries))) => {
                for entry in entries {
                    let _ = write!(
                        out,
                        "<{element} {label}=\"{}\">{}</{element}>",
                        escape(&entry.label),
                        escape(&entry.value)
                    );
                }
            }
            _ => {}
        }
    }
    let _ = write!(out, "</{}>", resource.item);
}

/// Reads one item, not yet checked against lengths and requirements.
pub fn decode(resource: &Resource, body: &[u8]) -> Result<Item, FieldError> {
    let text = std::str::from_utf8(body).map_err(|e| fault(format!("is not UTF-8: {e}")))?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut decoder = Decoder {
        resource,
        item: resource.blank(),
        depth: 0,
        open: None,
        whole: false,
    };
    loop {
        let event = reader.read_event().map_err(|e| {
            fault(format!(
                "is not well-formed XML: {e} (byte {})",
                reader.error_position()
            ))
        })?;
        if !decoder.event(event)? {
            break;
        }
    }
    match (decoder.whole, decoder.depth) {
        (true, 0) => Ok(decoder.item),
        (_, 0) => Err(fault(format!("must be one <{}> element", resource.item))),
        _ => Err(fault("is cut off: an element is not closed".to_owned())),
    }
}

fn fault(fault: String) -> FieldError {
    FieldError::new("body", fault)
}

/// A field's element that was opened and not yet closed.
struct Open {
    position: usize,
    label: Option<String>,
    name: &'static str,
    text: String,
}

struct Decoder<'a> {
    resource: &'a Resource,
    item: Item,
    depth: u8,
    open: Option<Open>,
    whole: bool,
}

impl Decoder<'_> {
    /// Takes one event; `false` at the end of the document.
    fn event(&mut self, event: Event<'_>) -> Result<bool, FieldError> {
        match event {
            Event::Eof => return Ok(false),
            Event::Start(start) => self.start(&start)?,
            Event::Empty(start) => {
                self.start(&start)?;
                self.end()?;
            }
            Event::End(_) => self.end()?,
            Event::Text(text) => self.text(&text.xml_content(XmlVersion::Implicit1_0))?,
            Event::CData(text) => self.text(&text.xml_content(XmlVersion::Implicit1_0))?,
            Event::GeneralRef(reference) => {
                let name = reference.xml_content(XmlVersion::Implicit1_0);
                let text = quick_xml::escape::unescape(&format!("&{name};"))
                    .map_err(|e| fault(format!("holds an entity that XML does not define: {e}")))?
                    .into_owned();
                self.text(&text)?;
            }
            Event::DocType(_) => return Err(fault("must not hold a document type".to_owned())),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
        }
        Ok(true)
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), FieldError> {
        let name = start.name();
        let name = name.as_ref();
        self.depth = self.depth.saturating_add(1);
        match self.depth {
            1 if self.whole || name != self.resource.item => Err(fault(format!(
                "must be one <{}> element",
                self.resource.item
            ))),
            // `id` and `store` are the handset's to give: a caller that sends back what it got is told so.
            1 => match start.attributes_raw().trim() {
                "" => Ok(()),
                _ => Err(FieldError::new(
                    self.resource.item,
                    "must have no attributes: the handset gives id and store",
                )),
            },
            2 => {
                let Some((position, field)) = self.resource.element(name) else {
                    return Err(unknown(
                        name,
                        self.resource.fields.iter().map(|f| f.element()),
                    ));
                };
                if field.given {
                    return Err(FieldError::new(field.element(), GIVEN));
                }
                self.open = Some(Open {
                    position,
                    label: label(start, &field.shape, field.element())?,
                    name: field.element(),
                    text: String::new(),
                });
                Ok(())
            }
            _ => {
                let place = self.open.as_ref().map_or("body", |open| open.name);
                Err(FieldError::new(place, "must hold text, no elements"))
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), FieldError> {
        match &mut self.open {
            Some(open) => open.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(fault("holds text outside of its fields".to_owned())),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), FieldError> {
        self.depth = self.depth.saturating_sub(1);
        let Some(open) = self.open.take() else {
            self.whole = true;
            return Ok(());
        };
        let Some(field) = self.resource.fields.get(open.position) else {
            return Ok(());
        };
        let value = match (&field.shape, open.label) {
            (_, Some(label)) => {
                let value = open.text;
                self.item.push(open.position, Entry { label, value });
                return Ok(());
            }
            (Shape::Lines { .. }, _) => {
                self.item.push_line(open.position, open.text);
                return Ok(());
            }
            (Shape::Number(..), _) => open.text.trim().parse().map(Value::Number).ok(),
            (Shape::Flag, _) => open.text.trim().parse().map(Value::Flag).ok(),
            _ => Some(Value::Text(open.text)),
        };
        let wrong = match field.shape {
            Shape::Flag => "must be true or false",
            _ => "must be a whole number",
        };
        let value = value.ok_or_else(|| FieldError::new(open.name, wrong))?;
        if !self.item.set(open.position, value) {
            return Err(FieldError::new(open.name, "is there twice"));
        }
        Ok(())
    }
}

/// The label of a labelled element, `other` if it has none; `None` for a text field. Other attributes are refused.
fn label(
    start: &BytesStart<'_>,
    shape: &Shape,
    element: &str,
) -> Result<Option<String>, FieldError> {
    let wanted = match shape {
        Shape::Labelled { label, .. } => Some(*label),
        _ => None,
    };
    let mut found = wanted.map(|_| LABEL_DEFAULT.to_owned());
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| FieldError::new(element, e.to_string()))?;
        let key = attribute.key;
        if Some(key.as_ref()) != wanted {
            return Err(unknown(key.as_ref(), wanted.into_iter()));
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|e| FieldError::new(element, e.to_string()))?;
        found = Some(value.into_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::descriptions::CONTACTS;
    use super::super::json;
    use super::super::resource::ALL;
    use super::*;

    /// Text that the check lets through, with everything in it that XML or JSON has to escape.
    fn text() -> impl Strategy<Value = String> {
        "[a-zß<>&'\"\\\\\\]\\[;#=/ 😀]{0,12}[a-z&<>]"
    }

    /// What a caller may put into a field, by its shape.
    fn value(shape: &'static Shape) -> BoxedStrategy<Value> {
        match shape {
            Shape::Line { .. } => text().prop_map(Value::Text).boxed(),
            Shape::Text { .. } => (text(), text())
                .prop_map(|(a, b)| Value::Text(format!("{a}\n\t{b}")))
                .boxed(),
            Shape::Choice(words) => prop::sample::select(*words)
                .prop_map(|word| Value::Text(word.to_owned()))
                .boxed(),
            Shape::Moment => {
                "20[0-9]{2}-0[1-9]-(1[0-9]|2[0-8])T[01][0-9]:[0-5][0-9]:[0-5][0-9](Z|[+-]0[0-9]:30)"
                    .prop_map(Value::Text)
                    .boxed()
            }
            Shape::Number(least, most) => (*least..=*most).prop_map(Value::Number).boxed(),
            Shape::Flag => any::<bool>().prop_map(Value::Flag).boxed(),
            Shape::Lines { .. } => prop::collection::vec(text(), 1..4)
                .prop_map(Value::Lines)
                .boxed(),
            Shape::Labelled { .. } => {
                let entry = (text(), text()).prop_map(|(label, value)| Entry { label, value });
                prop::collection::vec(entry, 1..4)
                    .prop_map(Value::Entries)
                    .boxed()
            }
        }
    }

    /// An item of any resource, with any of the fields that a caller may send, and all that it must.
    fn items() -> impl Strategy<Value = (&'static Resource, Item)> {
        let kept = ALL.iter().copied().filter(|r| r.is_collection());
        prop::sample::select(kept.collect::<Vec<_>>()).prop_flat_map(|resource| {
            let fields = resource.fields.iter().map(|field| match field {
                field if field.given => Just(None).boxed(),
                field if field.required => value(&field.shape).prop_map(Some).boxed(),
                field => prop::option::of(value(&field.shape)).boxed(),
            });
            fields.collect::<Vec<_>>().prop_map(move |values| {
                let mut item = resource.blank();
                for (field, value) in resource.fields.iter().zip(values) {
                    resource.put(&mut item, field.name, value);
                }
                (resource, resource.check(item).unwrap())
            })
        })
    }

    proptest! {
        #[test]
        fn r28_r29_what_is_shown_can_be_sent_back_in_either_form((resource, item) in items()) {
            let stored = Stored { id: 7, store: "phone".to_owned(), item, content: None };
            let shown = String::from_utf8(super::item(resource, &stored)).unwrap();
            let sent = shown.replacen(" id=\"7\" store=\"phone\"", "", 1);
            prop_assert_eq!(&decode(resource, sent.as_bytes()).unwrap(), &stored.item);
            let content = json::content(resource, &stored.item);
            prop_assert_eq!(&json::decode(resource, content.as_bytes()).unwrap(), &stored.item);
            prop_assert_eq!(json::restore(resource, content.as_bytes()).unwrap(), stored.item);
        }

        #[test]
        fn whatever_is_sent_is_read_or_refused(body in "[<>/&;a-z='\" !\\[\\]-]{0,60}|(</?(contact|name|phone)>|&[a-z]*;|x){0,9}") {
            let _ = decode(&CONTACTS, body.as_bytes());
            let _ = json::decode(&CONTACTS, body.as_bytes());
        }
    }
}
