//! HTTPS with a self-signed pair, and with files that change while it runs.

use std::{path::Path, sync::Arc};

use crate::server::{Server, until};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// GET /healthz by TLS, trusting `cert` only.
async fn healthz(server: &Server, cert: &Path) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(cert).map_err(std::io::Error::other)?;
    roots.add(certificate).map_err(std::io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.handle.https_addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut text = Vec::new();
    // The server closes without a TLS goodbye only after everything was sent.
    let _ = stream.read_to_end(&mut text).await;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write_pair(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
}

#[tokio::test]
async fn without_files_a_self_signed_pair_is_made_and_kept() {
    let server = Server::start().await;
    let cert = server.folder.path().join("tls/cert.pem");
    let reply = healthz(&server, &cert).await.unwrap();
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.ends_with("ok\n"),
        "{reply}"
    );
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    let cert = folder.path().join("cert.pem");
    let files = shardcast_control::settings::TlsFiles {
        cert: cert.clone(),
        key: folder.path().join("key.pem"),
    };
    let server = Server::start_with(|settings| settings.tls = Some(files)).await;
    assert!(healthz(&server, &cert).await.unwrap().ends_with("ok\n"));
    write_pair(folder.path());
    until("the new certificate", async || {
        healthz(&server, &cert).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_self_signed_pair_that_is_damaged_is_made_anew() {
    let damages: [fn(&Path); 5] = [
        |tls| std::fs::write(tls.join("cert.pem"), "").unwrap(),
        |tls| std::fs::write(tls.join("key.pem"), "").unwrap(),
        |tls| std::fs::write(tls.join("cert.pem"), "no PEM").unwrap(),
        |tls| std::fs::remove_file(tls.join("key.pem")).unwrap(),
        // A death between the two.
        |tls| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(tls.join("cert.pem"), made.cert.pem()).unwrap();
        },
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().join("tls");
        std::fs::create_dir(&tls).unwrap();
        write_pair(&tls);
        damage(&tls);
        let server = Server::start_with(|settings| {
            *settings = shardcast_control::Settings::in_folder(folder.path());
        })
        .await;
        let answer = healthz(&server, &tls.join("cert.pem")).await;
        assert!(answer.is_ok(), "damage {n}: {answer:?}");
    }
}
