//! Which certificate authorities the server is trusted by: the system's, which `SSL_CERT_FILE` and
//! `SSL_CERT_DIR` replace, and those of a file beside them.
//!
//! The file is `store.s3.ca_file`, else `AWS_CA_BUNDLE`, else the profile's `ca_bundle`. The SDK
//! panics at a file that holds no certificate, and where there is no authority at all.

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

use crate::bounded;
use crate::store::config::S3Config;
use crate::{Error, Result};

/// The most that a file of certificates may have: four times the system's own bundle.
const MOST_BYTES: u64 = 1 << 20;

/// Which authorities there are.
#[derive(Debug)]
pub(super) struct Trust {
    /// Whether the system has any.
    system: bool,
}

impl Trust {
    pub(super) fn of_the_system() -> Self {
        let certificates = rustls_native_certs::load_native_certs().certs;
        let (added, _) = RootCertStore::empty().add_parsable_certificates(certificates);
        Trust { system: added > 0 }
    }

    /// A client that does not ask the system, where it has none; else none is needed.
    pub(super) fn bare(&self) -> Result<Option<SharedHttpClient>> {
        match self.system {
            true => Ok(None),
            false => Ok(Some(built(TrustStore::empty())?)),
        }
    }

    /// A client that trusts the file's authorities, too; none where the SDK's own does.
    ///
    /// # Errors
    /// `Usage`: a file that cannot be used, or TLS without a single authority.
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
                "no certificate authority is known to verify the store by",
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

/// The file beside the system's authorities, and what names it.
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

/// The file's text, of which every certificate can be used.
fn read(path: &Path, named: &str) -> Result<Vec<u8>> {
    let failed = |why: String| {
        Error::usage(format!("cannot use {named} {}: {why}", path.display()))
            .hint("name a file of certificates in PEM")
    };
    let pem = bounded::read(path, MOST_BYTES).map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(failed("it holds no certificate".into())),
        false => Ok(pem),
    }
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
