//! The part of the check that is about `[https]`.

use std::net::SocketAddr;

use toml::Spanned;

use super::super::file::{Check, FileHttps};
use crate::serve::builtin::https::HttpsConfig;

impl Check<'_> {
    /// The TLS listener, if there is to be one.
    pub(super) fn https(
        &mut self,
        https: Option<Spanned<FileHttps>>,
        forward: bool,
    ) -> Option<HttpsConfig> {
        let https = https?;
        let span = https.span();
        if forward {
            self.error(
                Some(span),
                "https: has no effect with forward; the local web server has its own listeners",
            );
            return None;
        }
        let FileHttps {
            listen,
            certificate,
            key,
        } = https.into_inner();
        let Some(listen) = listen else {
            self.error(
                Some(span),
                "https.listen: is missing; it is an address and a port, \"127.0.0.1:8443\"",
            );
            return None;
        };
        let address = self.address("https.listen", &listen);
        let files = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some((self.path(certificate.get_ref()), self.path(key.get_ref())))
            }
            (Some(one), None) | (None, Some(one)) => {
                self.error(
                    Some(one.span()),
                    "https: certificate and key go together; say both, or neither to have them made",
                );
                None
            }
        };
        Some(HttpsConfig {
            listen: address?,
            files,
        })
    }

    /// An address and a port to listen on.
    pub(super) fn address(&mut self, key: &str, listen: &Spanned<String>) -> Option<SocketAddr> {
        let address = listen.get_ref().parse().ok();
        if address.is_none() {
            self.error(
                Some(listen.span()),
                format!("{key}: expected an IP address and a port, \"127.0.0.1:8443\""),
            );
        }
        address
    }
}
