//! Trusted certificate authorities: the system's, which `SSL_CERT_FILE` and `SSL_CERT_DIR` replace, and those in an
//! additional file.
//!
//! The file is `store.s3.ca_file`, else `AWS_CA_BUNDLE`, else the profile's `ca_bundle`. The SDK panics on a file
//! without a certificate, and if there is no authority at all.

use std::path::{Path, PathBuf};

use aws_config::SdkConfig;
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_types::service_config::ServiceConfigKey;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::store::config::S3Config;
use crate::util::bounded;
use crate::{Error, Result};

/// Maximum size of a file of certificates: four times a usual system bundle.
const MOST_BYTES: u64 = 1 << 20;

/// The system's authorities.
#[derive(Debug)]
pub(super) struct Trust {
    /// Whether there are any.
    system: bool,
}

impl Trust {
    pub(super) fn of_the_system() -> Self {
        let certificates = rustls_native_certs::load_native_certs().certs;
        let (added, _) = RootCertStore::empty().add_parsable_certificates(certificates);
        Trust { system: added > 0 }
    }

    /// A client without authorities if the system has none; else `None`: the SDK's own is used.
    pub(super) fn bare(&self) -> Result<Option<SharedHttpClient>> {
        if self.system {
            return Ok(None);
        }
        built(TrustStore::empty()).map(Some)
    }

    /// A client that also trusts the authorities in the file; `None`: the SDK's own is used.
    ///
    /// # Errors
    /// `Usage`: an unusable file, or TLS without any authority.
    pub(super) fn client(
        &self,
        settings: &S3Config,
        aws: &SdkConfig,
        tls: bool,
    ) -> Result<Option<SharedHttpClient>> {
        let Some((path, named)) = ca_file(settings, aws) else {
            if self.system || !tls {
                return self.bare();
            }
            return Err(Error::usage(
                "there is no certificate authority to verify the store with",
            )
            .hint(
                "install ca-certificates, or correct SSL_CERT_FILE, SSL_CERT_DIR or store.s3.ca_file",
            ));
        };
        let pem = read(&path, named)?;
        let roots = TrustStore::empty()
            .with_native_roots(self.system)
            .with_pem_certificate(pem);
        Ok(Some(built(roots)?))
    }
}

fn built(roots: TrustStore) -> Result<SharedHttpClient> {
    let context = TlsContext::builder().with_trust_store(roots).build();
    let context = context.map_err(|e| Error::usage("cannot set up TLS").because(e))?;
    Ok(Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}

/// Path of the additional file, and the setting that contains the path.
fn ca_file(settings: &S3Config, aws: &SdkConfig) -> Option<(PathBuf, &'static str)> {
    if let Some(path) = &settings.ca_file {
        return Some((path.clone(), "store.s3.ca_file"));
    }
    let key = ServiceConfigKey::builder()
        .service_id("s3")
        .env("AWS_CA_BUNDLE")
        .profile("ca_bundle")
        .build()
        .ok()?;
    let text = aws.service_config()?.load_config(key)?;
    let path = text.trim();
    (!path.is_empty()).then(|| (path.into(), "AWS_CA_BUNDLE, or the profile's ca_bundle,"))
}

/// Reads the file and checks that every certificate is usable.
fn read(path: &Path, named: &str) -> Result<Vec<u8>> {
    let failed = |why: String| {
        Error::usage(format!("cannot use {named} {}: {why}", path.display()))
            .hint("set it to a file of certificates in PEM format")
    };
    let pem = bounded::read(path, MOST_BYTES).map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("it contains no certificate".into()));
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_before_the_sdk_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        for text in [
            "",
            "no certificate",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&file, text).unwrap();
            let error = read(&file, "store.s3.ca_file").unwrap_err();
            assert_eq!(error.outcome(), crate::Outcome::Usage, "{text}");
            assert!(error.to_string().contains("store.s3.ca_file"), "{error}");
        }
        assert!(read(&directory.path().join("none"), "x").is_err());
    }
}
