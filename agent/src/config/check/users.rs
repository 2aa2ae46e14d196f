//! The part of the check that is about who may call: `authentication`, `digest_md5`, and `[[user]]`.

use std::collections::HashSet;

use toml::Spanned;

use super::super::file::{Check, FileUser};
use crate::serve::builtin::authentication::password::Hash;
use crate::serve::builtin::authentication::users::{Configured, Secret, USERS_MAX};
use crate::serve::builtin::authentication::{AuthenticationConfig, Schemes};

impl Check<'_> {
    /// What is said of authentication; `Some(None)`: it is off. `None`: something is wrong, or it is not ours to say.
    #[expect(
        clippy::option_option,
        reason = "the outer one is the check's, as everywhere in this file"
    )]
    pub(super) fn authentication(
        &mut self,
        said: Option<Spanned<String>>,
        md5: Option<Spanned<bool>>,
        users: Vec<Spanned<FileUser>>,
        forward: bool,
    ) -> Option<Option<AuthenticationConfig>> {
        let span = said.as_ref().map(Spanned::span);
        let first = users.first().map(Spanned::span);
        if forward {
            let md5 = md5.as_ref().map(Spanned::span);
            if span.is_some() || first.is_some() || md5.is_some() {
                self.error(
                    span.or(first).or(md5),
                    "authentication, digest_md5, user: have no effect with forward; the local web server authenticates its callers",
                );
            }
            return None;
        }
        let said = said.as_ref().map_or("digest basic", |said| said.get_ref());
        let mut words: Vec<_> = said.split_whitespace().collect();
        words.sort_unstable();
        let (basic, digest) = match *words {
            ["basic"] => (true, false),
            ["digest"] => (false, true),
            ["basic", "digest"] => (true, true),
            ["none"] => (false, false),
            _ => {
                self.error(
                    span,
                    "authentication: expected \"digest basic\", \"digest\", \"basic\" or \"none\"",
                );
                (true, true)
            }
        };
        if !digest && let Some(md5) = md5.as_ref().filter(|md5| *md5.get_ref()) {
            self.error(
                Some(md5.span()),
                "digest_md5: has no effect without \"digest\" in authentication",
            );
        }
        let md5 = md5.is_some_and(Spanned::into_inner);
        if !basic && !digest {
            if first.is_some() {
                self.error(
                    first,
                    "user: authentication is \"none\", so no user has an effect",
                );
            }
            return Some(None);
        }
        let schemes = Schemes { basic, digest, md5 };
        let users = self.users(users, schemes);
        Some(Some(AuthenticationConfig { schemes, users }))
    }

    fn users(&mut self, users: Vec<Spanned<FileUser>>, schemes: Schemes) -> Vec<Configured> {
        if users.is_empty() {
            self.note(
                None,
                "user: there is none, so only users that were added on the owner's screen can call",
            );
        }
        if let Some(user) = users.get(USERS_MAX) {
            self.error(
                Some(user.span()),
                format!("user: there are more than {USERS_MAX}"),
            );
        }
        let mut names = HashSet::new();
        for name in users.iter().filter_map(|user| user.get_ref().name.as_ref()) {
            // Which password counts would be anybody's guess.
            if !names.insert(name.get_ref().clone()) {
                self.error(Some(name.span()), "user.name: is there twice");
            }
        }
        let checked = users.into_iter().map(|user| self.user(user, schemes));
        checked.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn user(&mut self, user: Spanned<FileUser>, schemes: Schemes) -> Option<Configured> {
        let span = user.span();
        let FileUser {
            name,
            password,
            password_hash,
        } = user.into_inner();
        let usable = |name: &str| {
            !name.is_empty() && !name.contains(':') && !name.contains(char::is_control)
        };
        let Some(name) = name.filter(|name| usable(name.get_ref())) else {
            self.error(Some(span), "user.name: is missing, empty, or holds a colon");
            return None;
        };
        let secret = match (password, password_hash) {
            (Some(password), None) if !password.get_ref().is_empty() => {
                Secret::Password(password.into_inner())
            }
            (None, Some(hash)) => self.hash(&hash, schemes)?,
            _ => {
                self.error(
                    Some(name.span()),
                    "user: say one of password and password_hash, and not an empty one",
                );
                return None;
            }
        };
        Some(Configured {
            name: name.into_inner(),
            secret,
        })
    }

    fn hash(&mut self, phc: &Spanned<String>, schemes: Schemes) -> Option<Secret> {
        match Hash::parse(phc.get_ref()) {
            Ok(_) if !schemes.basic => {
                self.error(
                    Some(phc.span()),
                    "user.password_hash: is good for Basic alone; add \"basic\" to authentication, or say password",
                );
                None
            }
            Ok(hash) => {
                if schemes.digest {
                    self.note(
                        Some(phc.span()),
                        "user.password_hash: is good for Basic alone, so this user can't sign in with Digest",
                    );
                }
                Some(Secret::Hash(hash))
            }
            Err(error) => {
                self.error(Some(phc.span()), format!("user.password_hash: {error}"));
                None
            }
        }
    }
}
