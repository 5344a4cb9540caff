//! Which certificates of destinations are trusted: those that an authority of the system or of
//! `rtmps_ca_file` signed, and those that `rtmps_ca_file` lists themselves.

use std::{collections::HashSet, fs, io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

/// Certificates that are trusted; read once and shared by the shards.
#[derive(Clone, Debug)]
pub struct TrustedRoots {
    roots: Arc<RootCertStore>,
    /// Of the operator's file, as they are sent.
    listed: Arc<HashSet<CertificateDer<'static>>>,
}

/// The operator's file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Of the file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It holds none.
    #[error("{path} holds no certificate that can be used: it has to be PEM")]
    NoCertificate {
        /// Of the file.
        path: String,
    },
}

impl TrustedRoots {
    /// The system's certificates, and those of `ca_file`.
    ///
    /// # Errors
    /// When the file holds none. A system without certificates is only logged: plain RTMP needs
    /// none.
    pub fn load(ca_file: Option<&Path>) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!("some certificates of the system were not read: {error}");
        }
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() && ca_file.is_none() {
            tracing::warn!(
                "this system has no CA certificates, so no rtmps:// destination can be believed: \
                 install ca-certificates, or give a file of your own"
            );
        }
        let listed = match ca_file {
            Some(path) => add(&mut roots, path)?,
            None => HashSet::new(),
        };
        Ok(Self {
            roots: Arc::new(roots),
            listed: Arc::new(listed),
        })
    }

    /// Authorities that are trusted.
    pub(crate) fn count(&self) -> usize {
        self.roots.len()
    }

    /// A configuration for one shard: sessions to be resumed are kept in it, and shards share
    /// nothing that is written.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        if self.listed.is_empty() {
            let builder = builder.with_root_certificates(Arc::clone(&self.roots));
            return Ok(Arc::new(builder.with_no_client_auth()));
        }
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let verifier = Verifier {
            chains,
            listed: Arc::clone(&self.listed),
        };
        // "Dangerous" is what rustls calls any verifier that is not its own.
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        Ok(Arc::new(builder.with_no_client_auth()))
    }
}

/// Adds the certificates of a file as authorities; gives all of them.
fn add(
    roots: &mut RootCertStore,
    path: &Path,
) -> Result<HashSet<CertificateDer<'static>>, RootsError> {
    let shown = path.display().to_string();
    let pem = fs::read(path).map_err(|source| RootsError::Unreadable {
        path: shown.clone(),
        source,
    })?;
    let certificates: HashSet<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .filter_map(Result::ok)
        .collect();
    let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 {
        return Err(RootsError::NoCertificate { path: shown });
    }
    Ok(certificates)
}

/// Trusts a certificate that the operator listed, byte for byte, without asking who signed it and
/// whether it calls itself an authority, as `openssl req -x509` makes them. RFC 5280 has no such
/// server certificates, so webpki refuses them.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    listed: Arc<HashSet<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match judged {
            // webpki looks at the dates first: what fails for its signer or kind is in date.
            Err(Error::InvalidCertificate(reason))
                if is_about_signer(&reason) && self.listed.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Whether a certificate is refused for who signed it, or for calling itself an authority.
fn is_about_signer(reason: &CertificateError) -> bool {
    match reason {
        // The signature of an authority that has the name of a trusted one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => true,
        CertificateError::Other(error) => is_authority(error),
        _ => false,
    }
}

/// Whether webpki refuses a server's own certificate for being one of an authority.
pub(super) fn is_authority(error: &rustls::OtherError) -> bool {
    matches!(
        error.0.downcast_ref(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}
