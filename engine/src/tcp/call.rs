//! One call to a server that speaks TLS, from a thread that may wait: for `--probe`.

use std::{
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::error_text;

/// Addresses of one name that are tried; the shard races as many at most.
const ADDRESSES_MAX: usize = 3;

/// Resolves `host`, connects and shakes hands, each within `patience`. The error is for people.
pub(crate) fn call(
    host: &str,
    port: u16,
    config: &Arc<ClientConfig>,
    patience: Duration,
) -> Result<(), String> {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("its name is not found: {error}"))?;
    let mut connected = Err("its name has no address".to_owned());
    for address in addresses.take(ADDRESSES_MAX) {
        connected = TcpStream::connect_timeout(&address, patience)
            .map_err(|error| format!("{address}: {}", error_text::not_connected(&error)));
        if connected.is_ok() {
            break;
        }
    }
    let mut stream = connected?;
    let timeouts = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(patience)));
    timeouts.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let mut session =
        ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())?;
    while session.is_handshaking() {
        session.complete_io(&mut stream).map_err(|error| {
            let tls = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match tls {
                Some(tls) => error_text::tls(tls).reason,
                None => format!("the TLS handshake fails: {error}"),
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener, thread};

    use rustls::{ServerConfig, ServerConnection, pki_types::PrivateKeyDer};

    use super::*;
    use crate::tcp::trust::TrustedRoots;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server for one connection, with a certificate for `localhost`, and its certificate as PEM.
    fn server() -> (u16, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut session = ServerConnection::new(Arc::new(config)).unwrap();
            while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
        });
        (port, made.cert.pem())
    }

    #[test]
    fn a_server_whose_certificate_is_trusted_is_reached() {
        let (port, pem) = server();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, pem).unwrap();
        let roots = TrustedRoots::load(Some(&file)).unwrap();
        let config = roots.client_config().unwrap();
        assert_eq!(call("localhost", port, &config, PATIENCE), Ok(()));
    }

    #[test]
    fn a_certificate_that_nobody_signed_and_a_port_that_is_closed_are_said() {
        let (port, _) = server();
        let config = TrustedRoots::load(None).unwrap().client_config().unwrap();
        let refused = call("localhost", port, &config, PATIENCE).unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let refused = call("127.0.0.1", port, &config, PATIENCE).unwrap_err();
        assert!(refused.contains("refused"), "{refused}");
    }
}
