//! The part of the check that is about `[owner]`: the owner's screen is on loopback, or not at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use everline_protocol::Msisdn;
use toml::Spanned;

use super::super::file::{Check, FileOwner};
use crate::owner::OwnerConfig;

/// Where the owner's screen is if the owner does not say.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7080);

/// What `[owner]` says; where the secret is by itself depends on the database.
pub(super) struct Said {
    listen: SocketAddr,
    secret_file: Option<PathBuf>,
}

impl Said {
    /// Two handsets of one directory have a database each, and a secret each.
    pub(super) fn of(self, msisdn: Msisdn, database: &Path) -> OwnerConfig {
        let beside = || database.with_extension("owner.secret");
        OwnerConfig {
            listen: self.listen,
            secret_file: self.secret_file.unwrap_or_else(beside),
            msisdn,
        }
    }
}

impl Check<'_> {
    /// The owner's screen, if there is to be one.
    pub(super) fn owner(
        &mut self,
        owner: Option<Spanned<FileOwner>>,
        forward: bool,
    ) -> Option<Said> {
        let owner = owner?;
        if forward {
            self.error(
                Some(owner.span()),
                "owner: has no effect with forward; there the owner has nothing to decide here",
            );
            return None;
        }
        let FileOwner {
            listen,
            secret_file,
        } = owner.into_inner();
        let listen = match listen {
            None => Some(LISTEN_DEFAULT),
            Some(listen) => self.loopback(&listen),
        };
        Some(Said {
            listen: listen?,
            secret_file: secret_file.map(|path| self.path(path.get_ref())),
        })
    }

    fn loopback(&mut self, listen: &Spanned<String>) -> Option<SocketAddr> {
        let address: Option<SocketAddr> = listen.get_ref().parse().ok();
        let address = address.filter(|address| address.ip().is_loopback());
        if address.is_none() {
            self.error(
                Some(listen.span()),
                "owner.listen: expected an address of loopback and a port, \"127.0.0.1:7080\": the \
                 owner's screen is for this handset alone",
            );
        }
        address
    }
}
