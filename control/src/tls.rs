//! The certificate of the HTTPS port: the operator's PEM files, read again when they change, or a
//! self-signed pair in the data directory.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::settings::{Settings, TlsFiles};

/// How often the files are checked for changes.
const POLL: Duration = Duration::from_secs(2);

/// The certificate cannot be used. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file that cannot be read, or holds something else.
    #[error("cannot read {path}: {problem}")]
    Pem {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The key does not belong to the certificate, or is of an unknown kind.
    #[error("certificate {cert} and key {key} cannot be used: {source}")]
    Pair {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
        /// Why.
        source: rustls::Error,
    },
    /// The self-signed pair could not be made or written.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(String),
}

/// Answers each handshake with the newest certificate.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

/// A certificate that is in use.
#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    /// The chain and then the key, as the files have them.
    pem: Arc<[u8]>,
    changed: Option<SystemTime>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.key))
    }
}

impl Certificates {
    /// Loads the files of the settings, or makes a pair.
    pub(crate) fn load(settings: &Settings) -> Result<Arc<Self>, TlsError> {
        let files = match &settings.tls {
            Some(files) => files.clone(),
            None => self_signed(settings)?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let changed = changed(&files);
        let current = RwLock::new(Current {
            key: read(&files, &provider)?,
            pem: pem(&files),
            changed,
        });
        Ok(Arc::new(Self {
            files,
            provider,
            current,
        }))
    }

    /// The chain and then the key in PEM, for the engine.
    pub(crate) fn pem(&self) -> Arc<[u8]> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.pem)
    }

    /// The configuration of the HTTPS port.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| self.pair_error(source))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Takes over changed files until the process ends. New files that cannot be used are logged
    /// and the old certificate stays.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(POLL).await;
            let certificates = Arc::clone(&self);
            // Reading files blocks.
            let _ = tokio::task::spawn_blocking(move || certificates.look()).await;
        }
    }

    fn look(&self) {
        let changed = changed(&self.files);
        let known = self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .changed;
        if changed == known {
            return;
        }
        match read(&self.files, &self.provider) {
            Ok(key) => {
                let pem = pem(&self.files);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    Current { key, pem, changed };
                tracing::info!("the certificate was read again");
            }
            Err(error) => {
                // Key and certificate are replaced one after the other; tried again next time.
                tracing::warn!(%error, "the changed certificate cannot be used yet");
            }
        }
    }

    fn pair_error(&self, source: rustls::Error) -> TlsError {
        pair_error(&self.files, source)
    }
}

fn pair_error(files: &TlsFiles, source: rustls::Error) -> TlsError {
    let (cert, key) = (
        files.cert.display().to_string(),
        files.key.display().to_string(),
    );
    TlsError::Pair { cert, key, source }
}

/// The later of the two files' times.
fn changed(files: &TlsFiles) -> Option<SystemTime> {
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    time(&files.cert).max(time(&files.key))
}

/// Files that [`read`] has just read.
fn pem(files: &TlsFiles) -> Arc<[u8]> {
    let read = |path: &Path| fs::read(path).unwrap_or_default();
    [read(&files.cert), b"\n".to_vec(), read(&files.key)]
        .concat()
        .into()
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let pem = |path: &Path, problem: String| TlsError::Pem {
        path: path.display().to_string(),
        problem,
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(&files.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(pem(&files.cert, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| pem(&files.key, error.to_string()))?;
    let certified =
        CertifiedKey::from_der(chain, key, provider).map_err(|source| pair_error(files, source))?;
    Ok(Arc::new(certified))
}

/// The certificate of `files` that names the server, as it is sent, if the pair can be used.
///
/// # Errors
/// Why it cannot.
pub(crate) fn leaf(files: &TlsFiles) -> Result<CertificateDer<'static>, TlsError> {
    let certified = read(files, &aws_lc_rs::default_provider())?;
    let leaf = certified.end_entity_cert();
    leaf.map(|leaf| leaf.clone().into_owned())
        .map_err(|source| pair_error(files, source))
}

/// Where the self-signed pair is.
pub(crate) fn own_files(settings: &Settings) -> TlsFiles {
    let folder = settings.data_dir.join("tls");
    TlsFiles {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    }
}

/// Makes the pair once; browsers that were made to trust it go on doing so.
fn self_signed(settings: &Settings) -> Result<TlsFiles, TlsError> {
    let folder = settings.data_dir.join("tls");
    let files = own_files(settings);
    match read(&files, &aws_lc_rs::default_provider()) {
        Ok(_) => return Ok(files),
        // A full disk, or a death while it was written.
        Err(error) if files.cert.exists() || files.key.exists() => {
            tracing::warn!(%error, "the self-signed certificate cannot be used; a new one is made");
        }
        Err(_) => {}
    }
    let failed = |problem: String| TlsError::SelfSigned(problem);
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    names.extend(settings.server_name.clone());
    names.extend(settings.engine.advertise().iter().map(ToString::to_string));
    let made = rcgen::generate_simple_self_signed(names).map_err(|e| failed(e.to_string()))?;
    fs::create_dir_all(&folder).map_err(|e| failed(e.to_string()))?;
    write(&files.cert, 0o644, &made.cert.pem()).map_err(|e| failed(e.to_string()))?;
    let key = made.signing_key.serialize_pem();
    write(&files.key, 0o600, &key).map_err(|e| failed(e.to_string()))?;
    tracing::info!(cert = %files.cert.display(), "made a self-signed certificate");
    Ok(files)
}

/// Writes a file that is there whole or not at all.
fn write(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    let half = path.with_extension("new");
    let _ = fs::remove_file(&half);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(half, path)
}
