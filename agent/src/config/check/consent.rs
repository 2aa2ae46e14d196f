//! Holds `[consent]` and `[[grant]]` against the rest: the notifier needs to know who is calling (R50).

use std::time::Duration;

use toml::Spanned;

use super::super::file::{Check, FileConsent, FileGrant};
use crate::serve::builtin::consent::ConsentConfig;
use crate::serve::builtin::consent::access::{ANY, Access, Kind, Subject};
use crate::serve::builtin::resource::{self, Action};

/// Grants of one file at most.
const GRANTS_MAX: usize = 1_000;

impl Check<'_> {
    /// The notifier. `authenticated` says whether callers have to say who they are; `None`: that is wrong in itself.
    /// `owner`: whether there is a screen on which the owner can answer.
    pub(super) fn consent(
        &mut self,
        consent: Option<Spanned<FileConsent>>,
        grants: Vec<Spanned<FileGrant>>,
        authenticated: Option<bool>,
        owner: bool,
        forward: bool,
    ) -> ConsentConfig {
        let span = consent.as_ref().map(Spanned::span);
        if forward {
            let first = span.or(grants.first().map(Spanned::span));
            if first.is_some() {
                self.error(
                    first,
                    "consent, grant: have no effect with forward; the local web server decides for itself",
                );
            }
            return ConsentConfig::default();
        }
        let FileConsent {
            enabled,
            prompt_timeout_s,
            audit_rows_max,
        } = consent.map(Spanned::into_inner).unwrap_or_default();
        let said = enabled.as_ref().map(Spanned::span).or(span);
        let enabled = enabled.is_none_or(Spanned::into_inner);
        if enabled && authenticated == Some(false) {
            self.error(
                said.clone(),
                "consent.enabled: the owner can only be asked about callers who say who they are; \
                 say enabled = false under [consent], or choose another authentication than \"none\"",
            );
        }
        if enabled && !owner {
            self.note(
                said,
                "consent: without [owner] there is no screen to answer on; what no [[grant]] permits is denied \
                 when its prompt's time is over",
            );
        }
        let default = ConsentConfig::default();
        let timeout_s = default.prompt_timeout.as_secs().try_into().unwrap_or(60);
        let timeout_s = self.number(
            "consent.prompt_timeout_s",
            prompt_timeout_s,
            1..=3_600,
            timeout_s,
        );
        let rows_max = default.audit_rows_max.try_into().unwrap_or(50_000);
        let rows_max = self.number(
            "consent.audit_rows_max",
            audit_rows_max,
            100..=10_000_000,
            rows_max,
        );
        if let Some(beyond) = grants.get(GRANTS_MAX) {
            let fault = format!("grant: there are more than {GRANTS_MAX}");
            self.error(Some(beyond.span()), fault);
        }
        ConsentConfig {
            enabled,
            prompt_timeout: Duration::from_secs(timeout_s.into()),
            audit_rows_max: rows_max.into(),
            grants: grants
                .into_iter()
                .flat_map(|grant| self.grant(grant))
                .collect(),
        }
    }

    /// One entry of the access list for each action that a grant names.
    fn grant(&mut self, grant: Spanned<FileGrant>) -> Vec<(Subject, Access)> {
        let span = grant.span();
        let FileGrant {
            user,
            resource,
            actions,
            access,
        } = grant.into_inner();
        let Some(user) = user
            .map(Spanned::into_inner)
            .filter(|user| !user.is_empty())
        else {
            self.error(Some(span), "grant.user: is missing or empty");
            return Vec::new();
        };
        let resource = match resource {
            None => ANY.to_owned(),
            Some(name) if knows_resource(name.get_ref()) => name.into_inner(),
            Some(name) => {
                let known: Vec<_> = resource::ALL.iter().map(|known| known.name).collect();
                let fault = format!(
                    "grant.resource: expected \"*\" or one of {}",
                    known.join(", ")
                );
                self.error(Some(name.span()), fault);
                return Vec::new();
            }
        };
        let access = match access {
            None => Access::Unlimited,
            Some(name) => match Kind::named(name.get_ref()) {
                Some(Kind::Unlimited) => Access::Unlimited,
                Some(Kind::OneTime) => Access::OneTime,
                Some(Kind::PermanentlyDenied) => Access::PermanentlyDenied,
                _ => {
                    self.error(
                        Some(name.span()),
                        "grant.access: expected \"unlimited\", \"one-time\" or \"permanently-denied\"",
                    );
                    return Vec::new();
                }
            },
        };
        let actions = match actions {
            None => vec![ANY.to_owned()],
            Some(actions) => match self.actions(&resource, actions) {
                Some(actions) => actions,
                None => return Vec::new(),
            },
        };
        let entry = |action| {
            let subject = Subject {
                user: user.clone(),
                resource: resource.clone(),
                action,
            };
            (subject, access)
        };
        actions.into_iter().map(entry).collect()
    }

    /// An action that the resource does not have is refused: an entry for it would never count, whatever it denies.
    fn actions(&mut self, resource: &str, actions: Vec<Spanned<String>>) -> Option<Vec<String>> {
        let there = actions_of(resource);
        let mut known = Vec::new();
        for action in actions {
            let name = action.get_ref().as_str();
            if name != ANY && !there.contains(&name) {
                let fault = format!(
                    "grant.actions: expected \"*\" or some of {}",
                    there.join(", ")
                );
                self.error(Some(action.span()), fault);
                return None;
            }
            known.push(action.into_inner());
        }
        Some(known)
    }
}

fn knows_resource(name: &str) -> bool {
    name == ANY || resource::ALL.iter().any(|known| known.name == name)
}

/// What can be done with a resource, or with any.
fn actions_of(resource: &str) -> Vec<&'static str> {
    let of = |action: &Action| {
        let mut known = resource::ALL.iter().filter(|known| known.name == resource);
        resource == ANY || known.any(|known| known.actions.contains(action))
    };
    let actions = Action::ALL.into_iter().filter(of);
    actions.map(Action::name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::{Config, Serve};
    use super::*;

    const GOOD: &str = "msisdn = \"34600000001\"\ngateways = [\"127.0.0.1:7000\"]\ntoken = \"x\"\n";

    fn parse(text: &str) -> Result<ConsentConfig, String> {
        let config = Config::parse(&format!("{GOOD}{text}"), Path::new("agent.toml"));
        match config.map_err(|errors| errors.to_string())?.serve {
            Serve::Builtin(builtin) => Ok(builtin.consent),
            Serve::Forward(_) => Ok(ConsentConfig::default()),
        }
    }

    const ALICE: &str =
        "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n[builtin]\ndatabase = \"a.db\"\n";

    #[test]
    fn r50_a_notifier_without_authentication_is_refused() {
        let none = "authentication = \"none\"\n[builtin]\ndatabase = \"a.db\"\n";
        let told = parse(none).unwrap_err();
        assert!(
            told.contains("consent.enabled: the owner can only be asked"),
            "{told}"
        );
        let told = parse(&format!("{none}[consent]\nenabled = true\n")).unwrap_err();
        assert!(told.starts_with("agent.toml:8: consent.enabled"), "{told}");
        assert!(
            !parse(&format!("{none}[consent]\nenabled = false\n"))
                .unwrap()
                .enabled
        );
        assert!(
            parse(ALICE).unwrap().enabled,
            "it is on unless the owner says otherwise"
        );
        let told =
            parse("forward = \"http://127.0.0.1:81\"\n[consent]\nenabled = false\n").unwrap_err();
        assert!(told.contains("have no effect with forward"), "{told}");
    }

    #[test]
    fn r65_a_grant_is_an_entry_for_each_action() {
        let granted = parse(&format!(
            "{ALICE}[[grant]]\nuser = \"alice\"\nresource = \"contacts\"\nactions = [\"list\", \"get\"]\n\
             [[grant]]\nuser = \"alice\"\nresource = \"sms\"\naccess = \"permanently-denied\"\n"
        ));
        let granted: Vec<_> = granted
            .unwrap()
            .grants
            .into_iter()
            .map(|(subject, access)| (subject.resource, subject.action, access))
            .collect();
        let entry =
            |resource: &str, action: &str, access| (resource.to_owned(), action.to_owned(), access);
        assert_eq!(
            granted,
            [
                entry("contacts", "list", Access::Unlimited),
                entry("contacts", "get", Access::Unlimited),
                entry("sms", "*", Access::PermanentlyDenied),
            ]
        );
        for (wrong, told) in [
            (
                "resource = \"contact\"",
                "agent.toml:11: grant.resource: expected \"*\" or one of contacts",
            ),
            (
                "actions = [\"read\"]",
                "agent.toml:11: grant.actions: expected \"*\" or some of list",
            ),
            (
                "actions = [\"execute\"]\nresource = \"sms\"",
                "agent.toml:11: grant.actions: expected \"*\" or some of list, get, add, delete",
            ),
            (
                "access = \"temporary\"",
                "agent.toml:11: grant.access: expected",
            ),
        ] {
            let error =
                parse(&format!("{ALICE}[[grant]]\nuser = \"alice\"\n{wrong}\n")).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
        assert!(
            parse(&format!("{ALICE}[[grant]]\n"))
                .unwrap_err()
                .contains("grant.user: is missing")
        );
    }
}
