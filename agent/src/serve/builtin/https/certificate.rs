//! The certificate of the TLS listener: the owner's own, or one that the handset makes for itself at first start.
//!
//! One that it made is signed by itself alone: nobody vouches for it but the owner, who compares its fingerprint, which
//! is logged at each start.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use super::HttpsConfig;

/// How long a certificate that the handset makes is good.
const LIFE: Duration = Duration::days(3_650);

/// The certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read as what it should be.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file can't be written.
    #[error("{}: can't be written: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate file holds none.
    #[error("{}: holds no certificate (`-----BEGIN CERTIFICATE-----`)", .0.display())]
    None(PathBuf),
    /// Key and certificate do not go with each other, or not with TLS.
    #[error("the certificate {} can't be used: {source}", path.display())]
    Unfit {
        /// Which certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// No certificate can be made.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What TLS needs to know. Reads the files; makes those that lie beside the database and are not there.
pub(super) fn load(
    config: &HttpsConfig,
    beside: &Path,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let (certificate, key) = match &config.files {
        Some(files) => files.clone(),
        None => own(config.listen.ip(), beside)?,
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Read { path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect)
        .map_err(failed(&certificate))?;
    let Some(first) = chain.first() else {
        return Err(CertificateError::None(certificate));
    };
    tracing::info!(certificate = %certificate.display(), sha256 = %fingerprint(first), "the certificate of the TLS listener");
    let private = PrivateKeyDer::from_pem_file(&key).map_err(failed(&key))?;
    guard(&key);
    let unfit = |source| CertificateError::Unfit {
        path: certificate,
        source,
    };
    let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|tls| tls.with_no_client_auth().with_single_cert(chain, private));
    let mut tls = tls.map_err(unfit)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// As browsers and `openssl x509 -fingerprint -sha256` show it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest::digest(&digest::SHA256, certificate);
    let mut text = String::new();
    for byte in hash.as_ref() {
        let colon = if text.is_empty() { "" } else { ":" };
        // Writing to a String does not fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

/// Paths of the handset's own certificate and key, which are there afterwards.
fn own(listen: IpAddr, beside: &Path) -> Result<(PathBuf, PathBuf), CertificateError> {
    let named = |what: &str| {
        let mut name = beside.as_os_str().to_owned();
        name.push(what);
        PathBuf::from(name)
    };
    let (certificate, key) = (named(".certificate.pem"), named(".key.pem"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if !listen.is_unspecified() && !listen.is_loopback() {
        names.push(listen.to_string());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Everline handset");
    let now = OffsetDateTime::now_utc();
    // A caller's clock may be behind.
    params.not_before = now - Duration::days(1);
    params.not_after = now + LIFE;
    let pair = KeyPair::generate()?;
    let signed = params.self_signed(&pair)?;
    // The certificate last: where it is, its key is.
    write(&key, 0o600, &pair.serialize_pem())?;
    write(&certificate, 0o644, &signed.pem())?;
    tracing::info!(certificate = %certificate.display(), "a certificate was made");
    Ok((certificate, key))
}

/// Written whole under another name first: a flat battery leaves no half of a file, with which no start succeeds.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), CertificateError> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let written = || {
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // One that was left behind might be readable for others.
            _ => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(mode)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    written().map_err(|source| CertificateError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Says it if others on the handset can read the key: whoever has it can pose as the handset.
fn guard(key: &Path) {
    let mode = std::fs::metadata(key).map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        tracing::warn!(key = %key.display(), "everybody on this handset can read the key of the TLS listener: chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(files: Option<(PathBuf, PathBuf)>) -> HttpsConfig {
        HttpsConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            files,
        }
    }

    #[test]
    fn r48_a_certificate_is_made_once_and_its_key_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("handset.db");
        load(&config(None), &database).unwrap();
        let key = dir.path().join("handset.db.key.pem");
        let made = std::fs::read(&key).unwrap();
        assert_eq!(
            std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        load(&config(None), &database).unwrap();
        assert_eq!(std::fs::read(&key).unwrap(), made);
        // Broken off between the two: both are made anew, and nothing that was left behind opens the key to others.
        let certificate = dir.path().join("handset.db.certificate.pem");
        std::fs::remove_file(&certificate).unwrap();
        let left = dir.path().join("handset.db.key.pem.new");
        std::fs::write(&left, "half a k").unwrap();
        load(&config(None), &database).unwrap();
        assert_ne!(std::fs::read(&key).unwrap(), made);
        assert_eq!(
            std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(certificate.exists() && !left.exists());
    }

    #[test]
    fn r48_files_that_can_not_be_used_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        load(&config(None), &one).unwrap();
        load(&config(None), &other).unwrap();
        let file = |name: &str| dir.path().join(name);
        let told = |certificate: &str, key: &str| {
            let files = Some((file(certificate), file(key)));
            load(&config(files), &one).unwrap_err().to_string()
        };
        std::fs::write(file("empty"), "").unwrap();
        assert!(told("missing", "one.key.pem").contains("missing"));
        assert!(told("empty", "one.key.pem").contains("holds no certificate"));
        assert!(told("one.certificate.pem", "empty").contains("empty"));
        assert!(told("one.certificate.pem", "other.key.pem").contains("can't be used"));
    }
}
