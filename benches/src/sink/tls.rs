//! Certificates for RTMPS sinks, signed by a CA that is made for the test.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::BenchError;

/// Subject names of a good certificate: the names and addresses of a local sink.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The certificate that a sink presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Valid, for localhost and 127.0.0.1, signed by the test's CA.
    Good,
    /// Valid until 2021.
    Expired,
    /// For `elsewhere.example`.
    WrongName,
    /// Signed by another CA.
    UnknownCa,
}

/// A certificate authority made for one test.
#[derive(Debug)]
pub struct TestCa {
    pem: String,
    good: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    wrong_name: Arc<ServerConfig>,
    unknown_ca: Arc<ServerConfig>,
}

impl TestCa {
    /// Makes the CA and one certificate of each kind.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn new() -> Result<Self, BenchError> {
        let (ca, stranger) = (authority("Test CA")?, authority("Another CA")?);
        let good = CertificateParams::new(NAMES.map(str::to_owned))?;
        let mut expired = good.clone();
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2021, 1, 1);
        let wrong_name = CertificateParams::new(["elsewhere.example".to_owned()])?;
        Ok(Self {
            pem: ca.pem(),
            good: server(&good, &ca)?,
            expired: server(&expired, &ca)?,
            wrong_name: server(&wrong_name, &ca)?,
            unknown_ca: server(&good, &stranger)?,
        })
    }

    /// The CA's certificate, which a client has to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes [`pem`](Self::pem) to a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        fs::write(path, &self.pem).map_err(|error| BenchError::File {
            path: path.to_owned(),
            error,
        })
    }

    pub(super) fn server_config(&self, certificate: Certificate) -> Arc<ServerConfig> {
        Arc::clone(match certificate {
            Certificate::Good => &self.good,
            Certificate::Expired => &self.expired,
            Certificate::WrongName => &self.wrong_name,
            Certificate::UnknownCa => &self.unknown_ca,
        })
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Result<Authority, BenchError> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn server(params: &CertificateParams, ca: &Authority) -> Result<Arc<ServerConfig>, BenchError> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(Arc::new(config))
}
