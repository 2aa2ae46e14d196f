//! What may stand behind a flag: one parser for each kind of value, each with a sentence for what does not fit.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use everline_protocol::Msisdn;

/// `90`, `90s`, `500ms`, `3m`, `2h`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_s = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a time such as 90s, 500ms, 3m or 2h".into()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_bad| "expected a time such as 90s, 500ms, 3m or 2h")?;
    Duration::try_from_secs_f64(number * unit_s)
        .ok()
        .filter(|span| *span <= Duration::from_hours(24 * 365))
        .ok_or_else(|| "longer than a year".into())
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_bad| "expected a number")?;
    if (0.001..=10_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("expected 0.001 to 10000000 a second".into())
    }
}

pub(crate) fn msisdn(text: &str) -> Result<Msisdn, String> {
    Msisdn::parse(text.as_bytes()).map_err(|error| error.to_string())
}

pub(crate) fn token(text: &str) -> Result<String, String> {
    let fit =
        !text.is_empty() && text.len() <= 1500 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fit {
        Ok(text.into())
    } else {
        Err("expected 1 to 1500 visible ASCII characters".into())
    }
}

pub(crate) fn domain(text: &str) -> Result<String, String> {
    let fit =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(fit) {
        Ok(text.into())
    } else {
        Err("expected a domain name".into())
    }
}

pub(crate) fn path(text: &str) -> Result<String, String> {
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(_) if text.starts_with('/') => Ok(text.into()),
        _ => Err("expected a path that begins with /".into()),
    }
}

/// `host:port`, where the host may be a name; it is looked up when the run begins.
pub(crate) fn host_port(text: &str) -> Result<String, String> {
    let fit = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if fit {
        Ok(text.into())
    } else {
        Err(
            "expected an address or a name, and a port, such as 127.0.0.1:7000 or [::1]:7000"
                .into(),
        )
    }
}

/// The addresses of `host:port`, at least one.
pub(crate) fn resolve(host_port: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = host_port
        .to_socket_addrs()
        .map_err(|error| format!("cannot look up {host_port}: {error}"))?;
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return Err(format!("{host_port} has no address"));
    }
    Ok(addresses)
}
