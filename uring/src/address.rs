//! Socket addresses as the kernel writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Room for an IPv4 or IPv6 address and its length, at a place that stays put while an operation points to it.
#[repr(C)]
pub(crate) struct Address {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl Address {
    /// For the kernel to fill in.
    pub(crate) fn empty() -> Self {
        // SAFETY: all zeroes are a valid `sockaddr_storage`: it is plain integers, family AF_UNSPEC.
        let storage = unsafe { std::mem::zeroed() };
        Self {
            storage,
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    /// Makes room again for the next answer.
    pub(crate) fn clear(&mut self) {
        *self = Self::empty();
    }

    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut this = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                let name = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: `sockaddr_storage` is large and aligned enough for every address family.
                unsafe {
                    std::ptr::from_mut(&mut this.storage)
                        .cast::<libc::sockaddr_in>()
                        .write(name);
                };
                this.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let name = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: as above.
                unsafe {
                    std::ptr::from_mut(&mut this.storage)
                        .cast::<libc::sockaddr_in6>()
                        .write(name);
                };
                this.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        this
    }

    /// What the kernel wrote; the unspecified address if it wrote none (a peer that is gone already).
    pub(crate) fn read(&self) -> SocketAddr {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says what was written, and the storage holds it.
                let name = unsafe {
                    std::ptr::from_ref(&self.storage)
                        .cast::<libc::sockaddr_in>()
                        .read()
                };
                let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
                SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin_port))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let name = unsafe {
                    std::ptr::from_ref(&self.storage)
                        .cast::<libc::sockaddr_in6>()
                        .read()
                };
                let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
                SocketAddr::new(IpAddr::V6(ip), u16::from_be(name.sin6_port))
            }
            _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        }
    }

    pub(crate) fn name(&mut self) -> *mut libc::sockaddr {
        std::ptr::from_mut(&mut self.storage).cast()
    }

    pub(crate) fn len(&mut self) -> *mut libc::socklen_t {
        std::ptr::from_mut(&mut self.len)
    }

    pub(crate) fn len_now(&self) -> libc::socklen_t {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_come_back_as_they_went() {
        for text in ["127.9.8.7:65535", "[2001:db8::7]:1", "[::1]:7000"] {
            let address: SocketAddr = text.parse().expect("a valid address");
            assert_eq!(Address::new(address).read(), address);
        }
        assert!(Address::empty().read().ip().is_unspecified());
    }
}
