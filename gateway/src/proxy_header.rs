//! The PROXY protocol header, versions 1 and 2, that a balancer sends before the connection's own bytes.
//!
//! Shards (signaling) and workers (data, ingress) read it where the configuration expects one. It takes bytes in any
//! fragmentation, keeps at most [`KEPT_BYTES_MAX`] of them, and trusts nothing: whether the peer may speak for others is
//! the operator's promise, given by switching it on. Specification: HAProxy's `proxy-protocol.txt`, sections 2.1, 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest version 1 header with its CRLF (section 2.1).
const V1_BYTES_MAX: usize = 107;
/// Longest version 2 header that is read, TLVs included; those are skipped, not kept.
const V2_BYTES_MAX: usize = 2048;
/// Version 2: signature, command, family, length.
const V2_FIXED_BYTES: usize = 16;
/// Version 2: the largest address block that is of use here, two IPv6 addresses and two ports.
const V2_ADDRESS_BYTES_MAX: usize = 36;
/// What a connection may cost while its header is incomplete, bytes.
pub const KEPT_BYTES_MAX: usize = V1_BYTES_MAX;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads one header from the start of a connection; the caller bounds the wait.
#[derive(Debug, Default)]
pub struct ProxyHeader {
    kept: Vec<u8>,
    /// Version 2: bytes behind the kept ones that belong to the header.
    skip: usize,
    addresses: Option<Addresses>,
}

/// Whom the balancer speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Who connected to the balancer.
    pub source: SocketAddr,
    /// Which of the balancer's addresses.
    pub destination: SocketAddr,
}

/// How far a [`ProxyHeader`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyStep {
    /// Not whole yet; all of the input belongs to it.
    More,
    /// Whole. The first `used` bytes of this call's input belong to it, the rest is the connection's own.
    Done {
        /// `None` for the balancer's own connection (health checks: LOCAL, UNKNOWN) and for families other than IP.
        addresses: Option<Addresses>,
        /// Bytes consumed of this call's input.
        used: usize,
    },
    /// No such header: close without a word.
    Malformed,
}

enum Parsed {
    More,
    V1 {
        length: usize,
        addresses: Option<Addresses>,
    },
    V2 {
        length: usize,
        addresses: Option<Addresses>,
    },
    Malformed,
}

impl ProxyHeader {
    /// Takes bytes as they arrived. Never panics. Not to be called again after `Done` or `Malformed`.
    pub fn input(&mut self, bytes: &[u8]) -> ProxyStep {
        if self.skip > 0 {
            return self.skip(bytes);
        }
        let before = self.kept.len();
        let room = KEPT_BYTES_MAX.saturating_sub(before);
        self.kept.extend(bytes.iter().take(room));
        match parse(&self.kept) {
            Parsed::More if bytes.len() > room => ProxyStep::Malformed,
            Parsed::More => ProxyStep::More,
            Parsed::Malformed => ProxyStep::Malformed,
            Parsed::V1 { length, addresses } => ProxyStep::Done {
                addresses,
                used: length.saturating_sub(before),
            },
            Parsed::V2 { length, addresses } => {
                self.addresses = addresses;
                self.skip = length.saturating_sub(before);
                self.kept = Vec::new();
                self.skip(bytes)
            }
        }
    }

    fn skip(&mut self, bytes: &[u8]) -> ProxyStep {
        if bytes.len() < self.skip {
            self.skip -= bytes.len();
            return ProxyStep::More;
        }
        ProxyStep::Done {
            addresses: self.addresses,
            used: self.skip,
        }
    }
}

/// Parses what has arrived of a header from its first byte on.
fn parse(bytes: &[u8]) -> Parsed {
    let begins = |start: &[u8]| {
        start
            .iter()
            .zip(bytes)
            .all(|(expected, byte)| expected == byte)
    };
    if begins(V2_START) {
        parse_v2(bytes)
    } else if begins(V1_START) {
        parse_v1(bytes)
    } else {
        Parsed::Malformed
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`
fn parse_v1(bytes: &[u8]) -> Parsed {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Parsed::More;
    };
    let length = end + 2;
    let text = bytes
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok());
    let Some(words) = text.and_then(|text| text.strip_prefix("PROXY ")) else {
        return Parsed::Malformed;
    };
    // UNKNOWN may be followed by anything up to the end of the line.
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Parsed::V1 {
            length,
            addresses: None,
        };
    }
    match tcp_words(words) {
        Some(addresses) => Parsed::V1 {
            length,
            addresses: Some(addresses),
        },
        None => Parsed::Malformed,
    }
}

fn tcp_words(words: &str) -> Option<Addresses> {
    let mut words = words.split(' ');
    let mut word = || words.next();
    let (family, source, destination) = (word()?, word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if word().is_some() {
        return None;
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    Some(Addresses {
        source: SocketAddr::new(address(source)?, source_port),
        destination: SocketAddr::new(address(destination)?, destination_port),
    })
}

/// Digits alone, no leading zero but `0` itself.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    if digits && plain {
        text.parse().ok()
    } else {
        None
    }
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED_BYTES>() else {
        return Parsed::More;
    };
    let [.., command, family, high, low] = *fixed;
    let behind = usize::from(u16::from_be_bytes([high, low]));
    let length = V2_FIXED_BYTES + behind;
    // 0x20 is LOCAL, 0x21 PROXY; 0xX1 is a stream of address family X.
    if !matches!(command, 0x20 | 0x21) || length > V2_BYTES_MAX {
        return Parsed::Malformed;
    }
    let needed = match (command, family) {
        (0x21, 0x11) => 12,
        (0x21, 0x21) => V2_ADDRESS_BYTES_MAX,
        _ => {
            return Parsed::V2 {
                length,
                addresses: None,
            };
        }
    };
    if behind < needed {
        return Parsed::Malformed;
    }
    let Some(block) = rest.get(..needed) else {
        return Parsed::More;
    };
    let addresses = if family == 0x11 {
        v4_block(block)
    } else {
        v6_block(block)
    };
    match addresses {
        Some(_) => Parsed::V2 { length, addresses },
        None => Parsed::Malformed,
    }
}

fn v4_block(block: &[u8]) -> Option<Addresses> {
    let (source, block) = block.split_first_chunk::<4>()?;
    let (destination, block) = block.split_first_chunk::<4>()?;
    addresses(
        Ipv4Addr::from(*source).into(),
        Ipv4Addr::from(*destination).into(),
        block,
    )
}

fn v6_block(block: &[u8]) -> Option<Addresses> {
    let (source, block) = block.split_first_chunk::<16>()?;
    let (destination, block) = block.split_first_chunk::<16>()?;
    addresses(
        Ipv6Addr::from(*source).into(),
        Ipv6Addr::from(*destination).into(),
        block,
    )
}

fn addresses(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Option<Addresses> {
    let (source_port, ports) = ports.split_first_chunk::<2>()?;
    let (destination_port, _) = ports.split_first_chunk::<2>()?;
    Some(Addresses {
        source: SocketAddr::new(source, u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new(destination, u16::from_be_bytes(*destination_port)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds pieces of these lengths (the last one the rest); tells the outcome and the header's length.
    fn fed(bytes: &[u8], pieces: &[usize]) -> (ProxyStep, usize) {
        let mut header = ProxyHeader::default();
        let (mut rest, mut consumed) = (bytes, 0);
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            match header.input(now) {
                ProxyStep::More => {
                    assert!(header.kept.capacity() <= 4 * KEPT_BYTES_MAX);
                    consumed += now.len();
                    rest = later;
                }
                ProxyStep::Done { addresses, used } => {
                    assert!(used <= now.len());
                    return (ProxyStep::Done { addresses, used: 0 }, consumed + used);
                }
                ProxyStep::Malformed => return (ProxyStep::Malformed, 0),
            }
        }
        (ProxyStep::More, consumed)
    }

    fn done(source: &str, destination: &str) -> ProxyStep {
        let address = |text: &str| text.parse().expect("an address");
        let addresses = Some(Addresses {
            source: address(source),
            destination: address(destination),
        });
        ProxyStep::Done { addresses, used: 0 }
    }

    const NONE: ProxyStep = ProxyStep::Done {
        addresses: None,
        used: 0,
    };

    fn v2(command: u8, family: u8, block: &[u8], tlvs: usize) -> Vec<u8> {
        let mut header = V2_START.to_vec();
        let length = u16::try_from(block.len() + tlvs).expect("a short header");
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(block);
        header.extend(std::iter::repeat_n(7, tlvs));
        header
    }

    fn v4() -> Vec<u8> {
        vec![192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 4, 1, 187]
    }

    #[test]
    fn version_1_is_read() {
        let cases = [
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
                done("192.0.2.1:56324", "192.0.2.2:443"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
                done("[2001:db8::1]:1", "[::1]:65535"),
            ),
            ("PROXY UNKNOWN\r\n", NONE),
            ("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", NONE),
        ];
        for (header, expected) in cases {
            let wire = format!("{header}CONNECT version=1\r\n");
            assert_eq!(
                fed(wire.as_bytes(), &[]),
                (expected, header.len()),
                "{header:?}"
            );
        }
    }

    #[test]
    fn version_2_is_read_and_its_extensions_are_skipped() {
        for tlvs in [0, 3, 500, 1500] {
            let mut wire = v2(0x21, 0x11, &v4(), tlvs);
            let length = wire.len();
            wire.extend(b"GET / HTTP/1.1");
            assert_eq!(
                fed(&wire, &[]),
                (done("192.0.2.1:56324", "192.0.2.2:443"), length)
            );
        }
        let mut block = [0; 36];
        (block[15], block[31], block[33], block[35]) = (1, 2, 3, 4);
        assert_eq!(
            fed(&v2(0x21, 0x21, &block, 0), &[]).0,
            done("[::1]:3", "[::2]:4")
        );
        assert_eq!(
            fed(&v2(0x20, 0, &[], 0), &[]),
            (NONE, 16),
            "LOCAL speaks for itself"
        );
        assert_eq!(fed(&v2(0x20, 0x11, &v4(), 9), &[]), (NONE, 37));
        assert_eq!(
            fed(&v2(0x21, 0x31, &[0; 216], 0), &[]),
            (NONE, 232),
            "a UNIX socket has no address"
        );
    }

    #[test]
    fn anything_else_is_refused_at_once() {
        let over = v2(0x21, 0x11, &v4(), V2_BYTES_MAX);
        let short = v2(0x21, 0x21, &v4(), 0);
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat();
        let cases: [&[u8]; 14] = [
            b"C",
            b"PROXX",
            b"\r\nC",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n",
            b"PROXY TCP4 192.0.2.1  192.0.2.2 56324 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 65536\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +5 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 05 443\r\n",
            b"PROXY TCP4 ::1 ::1 5 443\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            &over,
            &short,
            &long,
        ];
        for wire in cases {
            assert_eq!(
                fed(wire, &[]).0,
                ProxyStep::Malformed,
                "{}",
                wire.escape_ascii()
            );
        }
        assert_eq!(
            fed(&v2(0x31, 0x11, &v4(), 0), &[]).0,
            ProxyStep::Malformed,
            "version 3"
        );
        assert_eq!(fed(b"PROXY TCP4 192.0.2.1", &[]).0, ProxyStep::More);
    }

    proptest! {
        #[test]
        fn fragmentation_changes_nothing(tlvs in 0usize..300, pieces in prop::collection::vec(0usize..40, 0..60)) {
            let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nCONNECT version=1".to_vec();
            let v2 = [v2(0x21, 0x11, &v4(), tlvs), b"CONNECT version=1".to_vec()].concat();
            for wire in [v1, v2] {
                prop_assert_eq!(fed(&wire, &pieces), fed(&wire, &[]));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(start in 0usize..3, bytes: Vec<u8>, pieces in prop::collection::vec(0usize..40, 0..20)) {
            let start = match start {
                0 => b"".as_slice(),
                1 => V1_START,
                _ => V2_START,
            };
            fed(&[start, &bytes].concat(), &pieces);
        }
    }
}
