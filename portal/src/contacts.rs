//! The description of contacts (R18): the fields of a contact, as the pages show them and the handset's API names them.

use crate::icon::Icon;
use crate::resource::{Entry, Field, Kind, Listed, Resource};

/// Contacts.
pub(crate) static CONTACTS: Resource = Resource {
    slug: "contacts",
    title: "Contacts",
    one: "contact",
    icon: Icon::Contacts,
    fields: &[
        Field {
            key: "name",
            label: "Name",
            required: true,
            chars_max: 256,
            kind: Kind::Line(Entry::Words),
        },
        Field {
            key: "phones",
            label: "Phone",
            required: false,
            chars_max: 64,
            kind: Kind::Listed(Listed {
                one: "phone",
                member: "number",
                entry: Entry::Phone,
                tag_member: "type",
                tags: &[
                    ("cell", "Mobile"),
                    ("home", "Home"),
                    ("work", "Work"),
                    ("main", "Main"),
                    ("fax", "Fax"),
                    ("other", "Other"),
                ],
                rows: 3,
            }),
        },
        Field {
            key: "emails",
            label: "Email",
            required: false,
            chars_max: 254,
            kind: Kind::Listed(Listed {
                one: "email",
                member: "address",
                entry: Entry::Email,
                tag_member: "type",
                tags: &[("home", "Home"), ("work", "Work"), ("other", "Other")],
                rows: 3,
            }),
        },
        Field {
            key: "organization",
            label: "Organization",
            required: false,
            chars_max: 256,
            kind: Kind::Line(Entry::Words),
        },
        Field {
            key: "note",
            label: "Note",
            required: false,
            chars_max: 4_096,
            kind: Kind::Text,
        },
    ],
};
