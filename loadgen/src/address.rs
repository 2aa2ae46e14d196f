//! Where a run may connect to, and from which addresses: the guard that keeps a load test off other people's hosts.
//!
//! Checked at the start for what the command line names, and again for every address that a gateway tells a handset.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use everline_protocol::HostPort;

/// One source address gets slow beyond about 14,000 connections to one target (Linux 6.18), so no more than this.
pub const HANDSETS_PER_SOURCE: u32 = 10_000;

/// A block of addresses, as `10.1.0.0/16` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    prefix: u8,
}

/// The text is not a block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a block of addresses such as 10.1.0.0/16, or one address")]
pub struct BadBlock;

impl FromStr for Block {
    type Err = BadBlock;

    fn from_str(text: &str) -> Result<Self, BadBlock> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_not_an_address| BadBlock)?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .map_or(Ok(widest), str::parse)
            .map_err(|_not_a_number| BadBlock)?;
        if prefix > widest {
            return Err(BadBlock);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Block {
    /// Where loopback connections come from unless the tester says otherwise.
    pub const SOURCES: Self = Self {
        address: IpAddr::V4(Ipv4Addr::new(127, 1, 0, 0)),
        prefix: 16,
    };

    /// Whether `address` lies in this block.
    pub fn contains(&self, address: IpAddr) -> bool {
        fn same(a: u128, b: u128, bits: u32, prefix: u8) -> bool {
            let free = bits - u32::from(prefix);
            free == 128 || a >> free == b >> free
        }
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same(a.to_bits().into(), b.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128, self.prefix),
            _ => false,
        }
    }

    /// Whether every address of the block is loopback.
    pub fn is_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.is_loopback() && self.prefix >= 8,
            IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST && self.prefix == 128,
        }
    }
}

/// Where this run may connect to: loopback, and what the tester allowed in words.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    allowed: Vec<Block>,
}

/// A target that nobody allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not a loopback address, and a load test against a host that did not agree to it is an attack: \
     if you are allowed to load that host, say so with --allow-target {0}"
)]
pub struct Forbidden(pub IpAddr);

impl Targets {
    /// Loopback and `allowed`.
    pub fn new(allowed: Vec<Block>) -> Self {
        Self { allowed }
    }

    /// Whether the run may connect to `target`.
    pub fn check(&self, target: SocketAddr) -> Result<SocketAddr, Forbidden> {
        let address = target.ip().to_canonical();
        if address.is_loopback() || self.allowed.iter().any(|block| block.contains(address)) {
            Ok(target)
        } else {
            Err(Forbidden(address))
        }
    }

    /// The address that a gateway told a handset, if it is one (names are not looked up: a fleet's thread never
    /// waits) and the run may connect to it.
    pub fn resolve(&self, told: &HostPort) -> Option<SocketAddr> {
        let address = match told.host.as_str() {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            host => host.parse().ok()?,
        };
        self.check(SocketAddr::new(address, told.port)).ok()
    }
}

/// The loopback addresses that a run connects from.
#[derive(Debug, Clone, Copy)]
pub struct Sources {
    first: u32,
    count: u32,
}

/// The source addresses cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSources {
    /// Outside 127.0.0.0/8.
    #[error(
        "source addresses must lie in 127.0.0.0/8: no other addresses are this machine's without being set up"
    )]
    NotLoopback,
    /// Too small for the run.
    #[error(
        "{given} has {has} addresses, but this run needs {needs} (one for each {HANDSETS_PER_SOURCE} handsets, and some for data channels)"
    )]
    TooFew {
        /// The block as it was given.
        given: Block,
        /// How many addresses it has.
        has: u32,
        /// How many would do.
        needs: u32,
    },
}

impl Sources {
    /// The addresses of `block` without its first and last, of which the run needs at least `needs`.
    pub fn new(block: Block, needs: u32) -> Result<Self, BadSources> {
        let IpAddr::V4(address) = block.address else {
            return Err(BadSources::NotLoopback);
        };
        if !block.is_loopback() {
            return Err(BadSources::NotLoopback);
        }
        let size = 1u32 << (32 - u32::from(block.prefix));
        let count = size.saturating_sub(2).max(1);
        if count < needs {
            return Err(BadSources::TooFew {
                given: block,
                has: count,
                needs,
            });
        }
        let network = address.to_bits() & !(size - 1);
        Ok(Self {
            first: network + u32::from(size > 2),
            count,
        })
    }

    /// The addresses of slice `index` (from 0) of `count` equal ones, for one of several processes.
    pub fn slice(self, index: u32, count: u32) -> Self {
        let each = (self.count / count.max(1)).max(1);
        Self {
            first: self.first + (index * each) % self.count,
            count: each,
        }
    }

    /// The source address number `index`, round and round, with any port.
    pub fn at(&self, index: u32) -> SocketAddr {
        SocketAddr::new(
            Ipv4Addr::from_bits(self.first + index % self.count).into(),
            0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_may_be_loaded_unless_the_tester_says_so() {
        let targets = Targets::default();
        for mine in [
            "127.0.0.1:7000",
            "127.9.9.9:1",
            "[::1]:7000",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(targets.check(mine.parse().unwrap()).is_ok(), "{mine}");
        }
        for other in [
            "10.0.0.1:7000",
            "0.0.0.0:7000",
            "128.0.0.1:80",
            "[2001:db8::1]:80",
            "[::ffff:8.8.8.8]:80",
        ] {
            let refused = targets.check(other.parse().unwrap()).unwrap_err();
            assert!(refused.to_string().contains("--allow-target"), "{refused}");
        }
        let targets = Targets::new(vec![
            "10.0.0.0/30".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ]);
        assert!(targets.check("10.0.0.3:7000".parse().unwrap()).is_ok());
        assert!(targets.check("10.0.0.4:7000".parse().unwrap()).is_err());
        assert!(targets.check("[2001:db8::9]:7000".parse().unwrap()).is_ok());
    }

    #[test]
    fn what_a_gateway_tells_is_held_to_the_same_rule() {
        let told = |host: &str| HostPort {
            host: host.into(),
            port: 7001,
        };
        let targets = Targets::default();
        assert_eq!(
            targets.resolve(&told("localhost")),
            Some("127.0.0.1:7001".parse().unwrap())
        );
        assert_eq!(
            targets.resolve(&told("::1")),
            Some("[::1]:7001".parse().unwrap())
        );
        assert_eq!(targets.resolve(&told("192.0.2.1")), None);
        assert_eq!(targets.resolve(&told("gateway.example")), None);
    }

    #[test]
    fn sources_leave_out_the_first_and_last_of_their_block() {
        let sources = Sources::new("127.1.0.0/30".parse().unwrap(), 2).unwrap();
        let seen: Vec<_> = (0..3)
            .map(|index| sources.at(index).ip().to_string())
            .collect();
        assert_eq!(seen, ["127.1.0.1", "127.1.0.2", "127.1.0.1"]);
        let all = Sources::new("127.0.0.0/8".parse().unwrap(), 200).unwrap();
        assert_eq!(all.at(65_535).ip().to_string(), "127.1.0.0");
        let one = Sources::new("127.0.0.9".parse().unwrap(), 1).unwrap();
        assert_eq!(one.at(5).ip().to_string(), "127.0.0.9");
        let slices = [0, 1, 2].map(|index| all.slice(index, 3));
        assert_eq!(slices[0].at(0).ip(), all.at(0).ip());
        assert_eq!(slices[1].at(0).ip(), all.at(slices[0].count).ip());
        assert_eq!(slices[0].at(slices[0].count).ip(), all.at(0).ip());
    }

    #[test]
    fn sources_that_cannot_work_are_refused() {
        let refused = |text: &str| {
            Sources::new(text.parse().unwrap(), 3)
                .map(|_| ())
                .unwrap_err()
        };
        assert_eq!(refused("10.0.0.0/8"), BadSources::NotLoopback);
        assert_eq!(refused("126.0.0.0/7"), BadSources::NotLoopback);
        assert_eq!(refused("::1/128"), BadSources::NotLoopback);
        assert!(matches!(
            refused("127.1.0.0/30"),
            BadSources::TooFew {
                has: 2,
                needs: 3,
                ..
            }
        ));
        for bad in ["", "127.0.0.1/33", "x/8", "127.0.0.0/", "::/129"] {
            assert_eq!(bad.parse::<Block>(), Err(BadBlock), "{bad}");
        }
    }
}
