//! TLS of a connection, with the meaning of [`Tls`] that the driver gives it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::packets::Duplex;
use crate::mysql::url::{Identity, ServerUrl};

/// Encrypts a connection to `host`. A certificate is verified only against the authorities of the URL.
pub(super) async fn encrypt(
    url: &ServerUrl,
    host: &str,
    stream: Pin<Box<dyn Duplex>>,
) -> io::Result<Pin<Box<dyn Duplex>>> {
    let config = ClientConfig::builder();
    let config = match &url.ca {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(invalid)?;
            }
            config.with_root_certificates(roots)
        }
        None => {
            let provider = config.crypto_provider().clone();
            let any = Arc::new(AnyCertificate(provider));
            config.dangerous().with_custom_certificate_verifier(any)
        }
    };
    let config = match &url.identity {
        Some(Identity { cert, key }) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(invalid)?;
            config
                .with_client_auth_cert(certificates(cert)?, key)
                .map_err(invalid)?
        }
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Box::pin(connector.connect(name, stream).await?))
}

fn certificates(path: &std::path::Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(invalid)?;
    certificates.collect::<Result<_, _>>().map_err(invalid)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Accepts any certificate: `tls=preferred` and `tls=required` encrypt without verification.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
