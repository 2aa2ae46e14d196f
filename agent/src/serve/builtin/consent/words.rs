//! Acts in words, as the owner's screen says them: "alice wants to *send an SMS*" (R53).

use crate::serve::builtin::resource::{Action, Manager, Resource};

/// What an action on a resource is called. A resource that has no words of its own is called by its name.
pub fn says(resources: &[&Resource], resource: &str, action: &str) -> String {
    let described = resources.iter().find(|known| known.name == resource);
    let action = Action::ALL.into_iter().find(|known| known.name() == action);
    let (Some(described), Some(action)) = (described, action) else {
        return own(resource).unwrap_or_else(|| format!("use {resource}"));
    };
    match described.manager {
        Manager::PersonalData => data(resource, action),
        Manager::State => format!("see the {}", resource.replace('-', " ")),
        Manager::Service => service(resource, action),
    }
}

fn own(resource: &str) -> Option<String> {
    (resource == "events").then(|| "be told what happens on the handset".to_owned())
}

fn data(resource: &str, action: Action) -> String {
    let (one, many) = match resource {
        "calendar" => ("a calendar entry", "calendar entries"),
        "contacts" => ("a contact", "contacts"),
        "emails" => ("an email", "emails"),
        "images" => ("an image", "images"),
        "incoming-calls" => ("a call in the log of incoming calls", "incoming calls"),
        "mms" => ("an MMS", "MMS"),
        "notes" => ("a note", "notes"),
        "outgoing-calls" => ("a call in the log of outgoing calls", "outgoing calls"),
        "sms" => ("an SMS", "SMS"),
        "sounds" => ("a sound", "sounds"),
        "videos" => ("a video", "videos"),
        other => return format!("{} {}", verb(action), other.replace('-', " ")),
    };
    match action {
        Action::List => format!("see the list of {many}"),
        Action::DeleteAll => format!("delete all {many}"),
        Action::Get | Action::Add | Action::Delete | Action::Execute => {
            format!("{} {one}", verb(action))
        }
    }
}

fn service(resource: &str, action: Action) -> String {
    let execute = match resource {
        "call" => "make a call",
        "divert" => match action {
            Action::Get | Action::List => "see where incoming calls are diverted to",
            Action::Delete | Action::DeleteAll => "stop diverting incoming calls",
            Action::Add | Action::Execute => "divert incoming calls",
        },
        "photograph" => "take a photograph",
        "record-video" => "record a video",
        "send-email" => "send an email",
        "send-mms" => "send an MMS",
        "send-sms" => "send an SMS",
        other => return format!("{} {}", verb(action), other.replace('-', " ")),
    };
    execute.to_owned()
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::List | Action::Get => "see",
        Action::Add => "add",
        Action::Delete => "delete",
        Action::DeleteAll => "delete all",
        Action::Execute => "use",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::resource::ALL;
    use super::*;

    #[test]
    fn r53_every_act_has_words_of_its_own() {
        let mut said = Vec::new();
        for resource in ALL {
            for action in resource.actions {
                said.push(says(ALL, resource.name, action.name()));
            }
        }
        let words = said.len();
        said.sort();
        said.dedup();
        // Cancelling one diversion and all of them is the same to the owner, who is shown which.
        assert!(words - said.len() <= 1, "{said:?}");
        assert!(said.iter().all(|said| !said.contains('-')), "{said:?}");
        assert_eq!(says(ALL, "contacts", "list"), "see the list of contacts");
        assert_eq!(says(ALL, "radar", "get"), "use radar");
    }
}
