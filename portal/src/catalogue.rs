//! Everything of a handset that the menu leads to (R67): nine personal resources, five state items, seven services.
//!
//! An entry that has a description has pages; one that has none is shown as not available yet, and leads nowhere.

use crate::contacts::CONTACTS;
use crate::icon::Icon;
use crate::resource::Resource;

/// A part of the menu.
#[derive(Debug)]
pub struct Group {
    /// "Personal data"
    pub title: &'static str,
    /// What can be done there.
    pub about: &'static str,
    /// Its entries, in the order of the menu.
    pub entries: &'static [Entry],
}

/// One entry of the menu.
#[derive(Debug)]
pub struct Entry {
    /// Its path.
    pub slug: &'static str,
    /// Its name.
    pub title: &'static str,
    /// One line on what it is for.
    pub about: &'static str,
    /// Beside its name.
    pub icon: Icon,
    /// Its pages, when there are any.
    pub resource: Option<&'static Resource>,
}

/// The whole menu.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue(pub &'static [Group]);

impl Catalogue {
    /// The entry of this path.
    pub fn entry(&self, slug: &str) -> Option<&'static Entry> {
        self.0
            .iter()
            .flat_map(|group| group.entries)
            .find(|entry| entry.slug == slug)
    }

    /// The resource of this path, when it has pages.
    pub fn resource(&self, slug: &str) -> Option<&'static Resource> {
        self.entry(slug)?.resource
    }

    /// The resource that a sign-in is tried on.
    pub fn first_resource(&self) -> Option<&'static Resource> {
        self.0
            .iter()
            .flat_map(|group| group.entries)
            .find_map(|entry| entry.resource)
    }
}

const fn soon(slug: &'static str, title: &'static str, about: &'static str, icon: Icon) -> Entry {
    Entry {
        slug,
        title,
        about,
        icon,
        resource: None,
    }
}

/// What this portal has.
pub const CATALOGUE: Catalogue = Catalogue(&[
    Group {
        title: "Personal data",
        about: "See, add and delete what is kept in the handset and on its SIM card.",
        entries: &[
            Entry {
                slug: "contacts",
                title: "Contacts",
                about: "Names, numbers, emails",
                icon: Icon::Contacts,
                resource: Some(&CONTACTS),
            },
            soon("notes", "Notes", "Things written down", Icon::Notes),
            soon(
                "calendar",
                "Calendar",
                "Appointments and birthdays",
                Icon::Calendar,
            ),
            soon("images", "Images", "Photographs and pictures", Icon::Images),
            soon(
                "sounds",
                "Sounds",
                "Music, recordings, ringtones",
                Icon::Sounds,
            ),
            soon("videos", "Videos", "Films and clips", Icon::Videos),
            soon("sms", "SMS", "Text messages", Icon::Sms),
            soon("mms", "MMS", "Messages with pictures", Icon::Mms),
            soon("emails", "Emails", "Mail kept in the handset", Icon::Emails),
        ],
    },
    Group {
        title: "State",
        about: "How the handset is doing right now.",
        entries: &[
            soon(
                "incoming-calls",
                "Incoming calls",
                "Who called, and when",
                Icon::IncomingCalls,
            ),
            soon(
                "outgoing-calls",
                "Outgoing calls",
                "Who was called, and when",
                Icon::OutgoingCalls,
            ),
            soon("battery", "Battery", "How much is left", Icon::Battery),
            soon(
                "coverage",
                "Coverage",
                "How well it hears the network",
                Icon::Coverage,
            ),
            soon(
                "terminal-state",
                "Ring mode",
                "Normal, high, silent or vibration only",
                Icon::RingMode,
            ),
        ],
    },
    Group {
        title: "Services",
        about: "Have the handset do something from afar.",
        entries: &[
            soon("make-call", "Make a call", "Dial a number", Icon::MakeCall),
            soon(
                "divert-calls",
                "Divert calls",
                "Send incoming calls elsewhere",
                Icon::DivertCalls,
            ),
            soon(
                "send-sms",
                "Send SMS",
                "Write a text message",
                Icon::SendSms,
            ),
            soon(
                "send-mms",
                "Send MMS",
                "Write a message with a picture",
                Icon::SendMms,
            ),
            soon("send-email", "Send email", "Write a mail", Icon::SendEmail),
            soon(
                "take-photo",
                "Take a photograph",
                "With the handset's camera",
                Icon::TakePhoto,
            ),
            soon(
                "record-video",
                "Record video",
                "With the handset's camera",
                Icon::RecordVideo,
            ),
        ],
    },
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r67_nine_personal_resources_five_state_items_seven_services() {
        let sizes: Vec<usize> = CATALOGUE
            .0
            .iter()
            .map(|group| group.entries.len())
            .collect();
        assert_eq!(sizes, [9, 5, 7]);
    }

    #[test]
    fn an_entry_and_its_description_have_one_path_and_no_path_comes_twice() {
        let entries: Vec<&Entry> = CATALOGUE.0.iter().flat_map(|group| group.entries).collect();
        for entry in &entries {
            assert!(
                entry
                    .resource
                    .is_none_or(|resource| resource.slug == entry.slug),
                "{}",
                entry.slug
            );
            assert_eq!(
                entries
                    .iter()
                    .filter(|other| other.slug == entry.slug)
                    .count(),
                1,
                "{}",
                entry.slug
            );
        }
    }
}
