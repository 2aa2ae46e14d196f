//! Which handset a URL names: the host form and the path form of PROTOCOL 6, for each configured domain. Starts nothing.

use std::net::Ipv6Addr;

use everline_protocol::Msisdn;
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri, header};

use crate::problem::Problem;

/// Whom a request is for, and what it asks of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The handset.
    pub handset: Msisdn,
    /// The host as the caller sent it, port and case untouched.
    pub host: String,
    /// The path and query as the handset is asked for it.
    pub path: PathAndQuery,
    /// `/<msisdn>`, if the caller used the path form and it was removed.
    pub prefix: Option<String>,
}

/// Reads a request's target: `Host`, `:authority` or the absolute form, then the path.
pub fn target<B>(request: &Request<B>, domains: &[String]) -> Result<Target, Problem> {
    let host = host(request)?;
    let path = request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let name = normal(&host);
    if let Some(handset) = domains.iter().find_map(|domain| in_host(&name, domain)) {
        return Ok(Target {
            handset,
            host,
            path,
            prefix: None,
        });
    }
    if !domains.iter().any(|domain| is_domain(&name, domain)) {
        return Err(Problem::NoSuchHost);
    }
    let (handset, rest, prefix) = in_path(path.as_str()).ok_or(Problem::NoSuchHost)?;
    let path = PathAndQuery::try_from(rest)
        .map_err(|_invalid| Problem::BadRequest("its path is malformed"))?;
    Ok(Target {
        handset,
        host,
        path,
        prefix: Some(prefix),
    })
}

/// The one host that the request names; those who name two must name the same (RFC 9112, section 3.2.2).
fn host<B>(request: &Request<B>) -> Result<String, Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let field = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Problem::BadRequest("it has more than one Host")),
        (Some(host), None) => Some(
            host.to_str()
                .map_err(|_opaque| Problem::BadRequest("its Host is malformed"))?,
        ),
        (None, _) => None,
    };
    let field = field.map(str::trim).filter(|host| !host.is_empty());
    if field.is_some_and(|host| !is_authority(host)) {
        return Err(Problem::BadRequest("its Host is malformed"));
    }
    let target = authority(request.uri());
    if target.is_some_and(|target| !is_authority(target)) {
        return Err(Problem::BadRequest("its target names a user"));
    }
    match (target, field) {
        (Some(target), Some(field)) if !target.eq_ignore_ascii_case(field) => {
            Err(Problem::BadRequest("its Host is not the one of its target"))
        }
        (Some(host), _) | (None, Some(host)) => Ok(host.to_owned()),
        (None, None) => Err(Problem::NoSuchHost),
    }
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(Authority::as_str)
}

/// A host and maybe a port, and no user before them; brackets hold an IPv6 address and nothing else.
fn is_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let port = match text.rsplit_once(':') {
        Some((_, port)) if !text.ends_with(']') => Some(port),
        _ => None,
    };
    let brackets = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(address, behind)| {
            address.parse::<Ipv6Addr>().is_ok() && (behind.is_empty() || behind.starts_with(':'))
        }),
        None => !text.contains(['[', ']']),
    };
    brackets
        && !text.contains('@')
        && !authority.host().is_empty()
        && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Lower case, without port, brackets and trailing dot.
fn normal(host: &str) -> String {
    let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The host form: `<msisdn>.<domain>`.
fn in_host(name: &str, domain: &str) -> Option<Msisdn> {
    let label = name.strip_suffix(domain)?.strip_suffix('.')?;
    Msisdn::parse(label.as_bytes()).ok()
}

/// The path form's host: the domain itself, or its `www`.
fn is_domain(name: &str, domain: &str) -> bool {
    name == domain || name.strip_prefix("www.").is_some_and(|rest| rest == domain)
}

/// The path form: `/<msisdn>`, then the handset's own path, which is given back untouched.
fn in_path(path: &str) -> Option<(Msisdn, String, String)> {
    let behind = path.strip_prefix('/')?;
    let end = behind.find(['/', '?']).unwrap_or(behind.len());
    let (digits, rest) = behind.split_at(end);
    let handset = Msisdn::parse(digits.as_bytes()).ok()?;
    let rest = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    Some((handset, rest, format!("/{digits}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domains() -> Vec<String> {
        ["vodafone.example", "localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .into()
    }

    fn of(host: &str, uri: &str) -> Result<Target, Problem> {
        let request = Request::builder()
            .uri(uri)
            .header(header::HOST, host)
            .body(())
            .expect("a request");
        target(&request, &domains())
    }

    fn found(host: &str, uri: &str) -> (u64, String, Option<String>) {
        let target = of(host, uri).expect("it names a handset");
        assert_eq!(target.host, host, "the host stays as the caller sent it");
        (
            target.handset.as_u64(),
            target.path.to_string(),
            target.prefix,
        )
    }

    #[test]
    fn both_forms_of_the_patent_name_the_handset() {
        let number = 34_610_515_151;
        let host_form = |path: &str| (number, path.to_owned(), None);
        let path_form = |path: &str| (number, path.to_owned(), Some("/34610515151".to_owned()));
        assert_eq!(
            found("34610515151.vodafone.example", "/contacts"),
            host_form("/contacts")
        );
        assert_eq!(
            found("34610515151.LOCALHOST.:8080", "/a%2fb?q=%20"),
            host_form("/a%2fb?q=%20")
        );
        assert_eq!(
            found("www.vodafone.example", "/34610515151/contacts"),
            path_form("/contacts")
        );
        assert_eq!(found("vodafone.example:80", "/34610515151"), path_form("/"));
        assert_eq!(
            found("vodafone.example", "/34610515151?a=b"),
            path_form("/?a=b")
        );
        assert_eq!(
            found("vodafone.example", "/34610515151//x/%2e%2e/"),
            path_form("//x/%2e%2e/")
        );
        assert_eq!(found("127.0.0.1:8080", "/34610515151/"), path_form("/"));
        assert_eq!(found("[::1]:8080", "/34610515151/x"), path_form("/x"));
        // A handset's own path may look like a number.
        assert_eq!(
            found("34610515151.localhost", "/34600000001/x"),
            host_form("/34600000001/x")
        );
    }

    #[test]
    fn what_names_no_handset_is_told_so() {
        for (host, uri) in [
            ("vodafone.example", "/"),
            ("vodafone.example", "/contacts"),
            ("vodafone.example", "/+34610515151"),
            ("vodafone.example", "/0034610515151/"),
            ("vodafone.example", "/1234"),
            ("vodafone.example", "/3461051515%31/"),
            ("www.34610515151.vodafone.example", "/"),
            ("1234.vodafone.example", "/"),
            ("34610515151.other.example", "/"),
            ("34610515151vodafone.example", "/"),
            ("34610515151.www.vodafone.example", "/"),
        ] {
            assert_eq!(of(host, uri), Err(Problem::NoSuchHost), "{host}{uri}");
        }
    }

    #[test]
    fn an_ambiguous_host_is_a_bad_request() {
        for (host, uri) in [
            ("localhost", "http://34610515151.localhost/"),
            ("a@localhost", "/34610515151/"),
            ("localhost:x", "/34610515151/"),
            ("[localhost]", "/34610515151/"),
            ("[::1]x", "/34610515151/"),
            ("[34610515151.localhost]x", "/"),
            ("local host", "/34610515151/"),
            ("localhost, localhost", "/34610515151/"),
        ] {
            assert!(
                matches!(of(host, uri), Err(Problem::BadRequest(_))),
                "{host} {uri}"
            );
        }
        let twice = Request::builder()
            .uri("/")
            .header("host", "localhost")
            .header("host", "localhost");
        assert!(matches!(
            target(&twice.body(()).expect("a request"), &domains()),
            Err(Problem::BadRequest(_))
        ));
        assert!(of("34610515151.localhost", "http://34610515151.LOCALHOST/").is_ok());
        let without = Request::builder()
            .uri("/34610515151/")
            .body(())
            .expect("a request");
        assert_eq!(target(&without, &domains()), Err(Problem::NoSuchHost));
    }

    proptest! {
        #[test]
        fn the_path_form_loses_its_prefix_and_nothing_else(number in 10_000u64..1_000_000_000_000_000, rest in "(/[a-z0-9%/._~-]{0,30})?(\\?[a-z=&/?]{0,20})?") {
            let whole = format!("/{number}{rest}");
            let (handset, path, prefix) = found("localhost", &whole);
            prop_assert_eq!(handset, number);
            let slash = if rest.starts_with('/') { "" } else { "/" };
            prop_assert_eq!(path, format!("{slash}{rest}"));
            prop_assert_eq!(prefix, Some(format!("/{number}")));
        }

        #[test]
        fn the_host_form_ignores_case_port_and_dot(number in 10_000u64..1_000_000_000_000_000, upper in any::<bool>(), dot in any::<bool>(), port in proptest::option::of(1u16..)) {
            let mut host = format!("{number}.vodafone.example");
            if upper { host.make_ascii_uppercase(); }
            if dot { host.push('.'); }
            if let Some(port) = port { host.push_str(&format!(":{port}")); }
            prop_assert_eq!(found(&host, "/x"), (number, "/x".to_owned(), None));
        }

        #[test]
        fn no_host_panics(host in "[ -~]{0,40}", path in "/[!-~]{0,40}") {
            if let Ok(request) = Request::builder().uri(path).header("host", host).body(()) {
                let _ = target(&request, &domains());
            }
        }
    }
}
