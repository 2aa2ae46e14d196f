//! Digest authentication's arithmetic and grammar (RFC 7616): parameters in, answers out; it knows no user and no nonce.
//!
//! SHA-256 with and without session; MD5 only where the configuration says so in words. The only `qop` is `auth`:
//! `auth-int` would want a whole body before its request may begin, and nothing here keeps a whole body.

use std::collections::HashMap;

use aws_lc_rs::{constant_time, digest as sha};
use md5::{Digest as _, Md5};

/// Longest value of an `Authorization` of this scheme that is looked at, in bytes: it repeats the request's URL.
const CREDENTIALS_BYTES_MAX: usize = 16 * 1_024;

/// Parameters of one `Authorization` at most.
const PARAMETERS_MAX: usize = 32;

/// A hash function of the scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// MD5: broken for nearly everything else, and all that old callers know.
    Md5,
}

impl Algorithm {
    /// As RFC 7616 writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// In hexadecimal digits, which is the only form that the scheme uses.
    pub fn hash(self, text: &[u8]) -> String {
        match self {
            Self::Sha256 => hex(sha::digest(&sha::SHA256, text).as_ref()),
            Self::Md5 => hex(&Md5::digest(text)),
        }
    }

    /// What stands for a password: `H(user:realm:password)`.
    pub fn of_password(self, name: &str, realm: &str, password: &str) -> String {
        self.hash(format!("{name}:{realm}:{password}").as_bytes())
    }

    /// What stands for a name where the caller hides it (section 3.4.4).
    pub fn of_name(self, name: &str, realm: &str) -> String {
        self.hash(format!("{name}:{realm}").as_bytes())
    }
}

/// Who an answer says it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// In plain.
    Plain(String),
    /// Its hash, [`Algorithm::of_name`].
    Hashed(String),
}

/// One `Authorization: Digest …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who.
    pub name: Name,
    /// With which function.
    pub algorithm: Algorithm,
    /// Whether with a session key (`-sess`).
    session: bool,
    /// The nonce that it answers to, as it was sent.
    pub nonce: String,
    /// Which use of the nonce this is.
    pub count: u32,
    /// The same as it was written.
    nc: String,
    cnonce: String,
    /// The URL that the caller asked for.
    pub uri: String,
    response: String,
}

/// Why an `Authorization` is no answer to a challenge of ours. The text is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl Answer {
    /// Reads what stands behind `Digest `; `realm` is the one that was offered.
    pub fn parse(value: &[u8], realm: &str) -> Result<Self, Malformed> {
        if value.len() > CREDENTIALS_BYTES_MAX {
            return Err(Malformed("The Authorization header is too long."));
        }
        let mut parameters = parameters(value).ok_or(Malformed(
            "The Authorization header is not one of HTTP Digest authentication.",
        ))?;
        let mut take = |name: &str| parameters.remove(name);
        if take("realm").as_deref() != Some(realm) {
            return Err(Malformed(
                "The realm of the Authorization header is another one.",
            ));
        }
        let (algorithm, session) = match take("algorithm").as_deref() {
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => (Algorithm::Sha256, false),
            Some(name) if name.eq_ignore_ascii_case("SHA-256-sess") => (Algorithm::Sha256, true),
            // Section 3.3: absent means MD5.
            None => (Algorithm::Md5, false),
            Some(name) if name.eq_ignore_ascii_case("MD5") => (Algorithm::Md5, false),
            Some(name) if name.eq_ignore_ascii_case("MD5-sess") => (Algorithm::Md5, true),
            Some(_) => return Err(Malformed("This algorithm was not offered.")),
        };
        if take("qop").as_deref() != Some("auth") {
            return Err(Malformed("The qop has to be auth."));
        }
        let hashed = take("userhash").is_some_and(|is| is.eq_ignore_ascii_case("true"));
        let name = match (take("username"), take("username*"), hashed) {
            (Some(name), None, false) => Name::Plain(name),
            (Some(name), None, true) => Name::Hashed(name.to_ascii_lowercase()),
            (None, Some(name), false) => Name::Plain(extended(&name).ok_or(Malformed(
                "The username* of the Authorization header is not UTF-8'' and an encoded name.",
            ))?),
            _ => return Err(Malformed("The Authorization header names no user, or two.")),
        };
        let mut required = |name: &str, missing| take(name).ok_or(Malformed(missing));
        let nc = required("nc", "The nc is missing.")?;
        let digits = nc.len() == 8 && nc.bytes().all(|byte| byte.is_ascii_hexdigit());
        let count = u32::from_str_radix(&nc, 16).ok().filter(|_| digits);
        Ok(Self {
            name,
            algorithm,
            session,
            nonce: required("nonce", "The nonce is missing.")?,
            count: count.ok_or(Malformed("The nc is not eight hexadecimal digits."))?,
            nc,
            cnonce: required("cnonce", "The cnonce is missing.")?,
            uri: required("uri", "The uri is missing.")?,
            response: required("response", "The response is missing.")?,
        })
    }

    /// Whether it is what somebody answers who knows the password that `kept` stands for.
    pub fn is_right(&self, kept: &str, method: &str) -> bool {
        let expected = self.response(kept, method);
        let response = self.response.to_ascii_lowercase();
        constant_time::verify_slices_are_equal(expected.as_bytes(), response.as_bytes()).is_ok()
    }

    /// `Authentication-Info` (section 3.5): shows that the handset knows the password, too.
    pub fn info(&self, kept: &str, next: Option<&str>) -> String {
        let proof = self.response(kept, "");
        let cnonce = self.cnonce.replace('\\', "\\\\").replace('"', "\\\"");
        let next = next.map_or(String::new(), |next| format!(", nextnonce=\"{next}\""));
        format!(
            "qop=auth, rspauth=\"{proof}\", cnonce=\"{cnonce}\", nc={}{next}",
            self.nc
        )
    }

    /// Section 3.4.1; with an empty method, section 3.5's.
    fn response(&self, kept: &str, method: &str) -> String {
        let Self {
            nonce,
            nc,
            cnonce,
            uri,
            ..
        } = self;
        let hash = |text: String| self.algorithm.hash(text.as_bytes());
        let key = match self.session {
            false => kept.to_owned(),
            true => hash(format!("{kept}:{nonce}:{cnonce}")),
        };
        let request = hash(format!("{method}:{uri}"));
        hash(format!("{key}:{nonce}:{nc}:{cnonce}:auth:{request}"))
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// `name=value` or `name="value"`, separated by commas; `None`: it is not, or a name comes twice.
fn parameters(value: &[u8]) -> Option<HashMap<String, String>> {
    let mut rest = std::str::from_utf8(value).ok()?;
    let mut parameters = HashMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(parameters);
        }
        let (name, behind) = rest.split_once('=')?;
        let name = name.trim_end().to_ascii_lowercase();
        let behind = behind.trim_start();
        let value = match behind.strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = unquoted(quoted)?;
                rest = behind;
                value
            }
            None => {
                let end = behind.find([',', ' ', '\t']).unwrap_or(behind.len());
                let (value, behind) = behind.split_at(end);
                rest = behind;
                value.to_owned()
            }
        };
        rest = rest.trim_start();
        let separated = rest.is_empty() || rest.starts_with(',');
        let token = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"*-_".contains(&b));
        if !separated
            || !token
            || parameters.len() >= PARAMETERS_MAX
            || parameters.insert(name, value).is_some()
        {
            return None;
        }
    }
}

/// A quoted string up to its end, without its escapes, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

/// RFC 8187's form, of which section 3.4 allows UTF-8 alone.
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |digit: Option<u8>| char::from(digit?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7616 section 3.9.1, whose realm is its own.
    #[test]
    fn r47_the_examples_of_the_rfc() {
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::Sha256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let answer = Answer {
                name: Name::Plain("Mufasa".to_owned()),
                algorithm,
                session: false,
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".to_owned(),
                count: 1,
                nc: "00000001".to_owned(),
                cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned(),
                uri: "/dir/index.html".to_owned(),
                response: response.to_owned(),
            };
            let kept = algorithm.hash(b"Mufasa:http-auth@example.org:Circle of Life");
            assert!(answer.is_right(&kept, "GET"), "{algorithm:?}");
            assert!(!answer.is_right(&kept, "HEAD"));
        }
    }

    const REALM: &str = "handset";

    const GOOD: &str = "username=\"a\\\"l\\\\ice\", realm=\"handset\",nonce=\"n\" , uri=\"/contacts?a=b,c\", \
        cnonce=\"c\\\"x\", nc=0000000A, qop=auth, response=\"00\", algorithm=SHA-256, opaque=\"o\"";

    #[test]
    fn r47_parameters_are_read_as_they_are_quoted() {
        let answer = Answer::parse(GOOD.as_bytes(), REALM).unwrap();
        assert_eq!(answer.name, Name::Plain("a\"l\\ice".to_owned()));
        assert_eq!((answer.count, &*answer.uri), (10, "/contacts?a=b,c"));
        let info = answer.info("kept", Some("nn"));
        assert!(
            info.contains(r#"cnonce="c\"x", nc=0000000A, nextnonce="nn""#),
            "{info}"
        );
        let other = GOOD.replace(
            "username=\"a\\\"l\\\\ice\"",
            "userhash=true, username=\"AB\"",
        );
        assert_eq!(
            Answer::parse(other.as_bytes(), REALM).unwrap().name,
            Name::Hashed("ab".to_owned())
        );
        let other = GOOD.replace(
            "username=\"a\\\"l\\\\ice\"",
            "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe",
        );
        assert_eq!(
            Answer::parse(other.as_bytes(), REALM).unwrap().name,
            Name::Plain("Jäsøn Doe".to_owned())
        );
    }

    #[test]
    fn r47_what_is_no_answer_is_refused() {
        for (from, to) in [
            ("realm=\"handset\"", "realm=\"other\""),
            ("realm=\"handset\",", ""),
            ("qop=auth", "qop=auth-int"),
            ("qop=auth, ", ""),
            ("nc=0000000A", "nc=A"),
            ("nc=0000000A", "nc=+000000A"),
            ("algorithm=SHA-256", "algorithm=SHA-512-256"),
            ("nonce=\"n\"", "nonce=\"n"),
            ("uri=", "realm=\"handset\", uri="),
            ("username=\"a\\\"l\\\\ice\", ", ""),
            ("username=", "username*=UTF-8''x, username="),
            ("username=\"a\\\"l\\\\ice\"", "username*=UTF-8''%F"),
            ("username=\"a\\\"l\\\\ice\"", "username*=ISO-8859-1''x"),
            (
                "username=\"a\\\"l\\\\ice\"",
                "userhash=true, username*=UTF-8''x",
            ),
            ("response=\"00\"", "response=\"00\" x"),
        ] {
            let wrong = GOOD.replace(from, to);
            assert_ne!(wrong, GOOD);
            assert!(Answer::parse(wrong.as_bytes(), REALM).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn r47_nothing_that_is_sent_breaks_the_reader(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Answer::parse(&value, REALM);
        }

        #[test]
        fn r47_broken_answers_break_nothing(at in 0..GOOD.len(), with in "[\"\\\\,=%' a*]{0,4}") {
            let mut text = GOOD.to_owned();
            text.replace_range(at..=at, &with);
            let _ = Answer::parse(text.as_bytes(), REALM);
        }
    }
}
