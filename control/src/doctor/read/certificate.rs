//! The certificate of the HTTPS port: its dates and names.

use std::{net::IpAddr, path::Path};

use x509_parser::prelude::{GeneralName, X509Certificate, parse_x509_certificate};

use super::{super::host::Certificate, Root};
use crate::{
    settings::{Settings, TlsFiles},
    tls,
};

pub(super) fn read(root: &Root, settings: &Settings) -> Certificate {
    let is_own = settings.tls.is_none();
    let files = match &settings.tls {
        Some(files) => files.clone(),
        None => tls::own_files(settings),
    };
    let files = TlsFiles {
        cert: root.of_setting(&files.cert),
        key: root.of_setting(&files.key),
    };
    if is_own && !files.cert.exists() {
        return Certificate::NotMade;
    }
    let leaf = match tls::leaf(&files) {
        Ok(leaf) => leaf,
        Err(error) => return Certificate::Unusable(error.to_string()),
    };
    let name = settings.server_name.as_deref();
    match dates_and_names(&files.cert, is_own, &leaf, name) {
        Some(certificate) => certificate,
        None => Certificate::Unusable(format!(
            "{} is no certificate that can be read",
            files.cert.display()
        )),
    }
}

fn dates_and_names(
    file: &Path,
    is_own: bool,
    leaf: &[u8],
    server_name: Option<&str>,
) -> Option<Certificate> {
    let (_, certificate) = parse_x509_certificate(leaf).ok()?;
    let validity = certificate.validity();
    let names_server = server_name.map(|name| {
        let names = names(&certificate);
        match names.iter().any(|one| covers(one, name)) {
            true => Ok(()),
            false => Err(names.join(", ")),
        }
    });
    Some(Certificate::Read {
        file: file.to_owned(),
        is_own,
        not_before_unix_s: validity.not_before.timestamp(),
        not_after_unix_s: validity.not_after.timestamp(),
        names_server,
    })
}

/// The names that browsers look at: subject alternative names alone (RFC 9525, 6.3).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| extension.value.general_names.as_slice());
    let names = names.unwrap_or_default().iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
                16 => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Whether `pattern` names `host`; a leading `*` stands for one label (RFC 9525, 6.3).
fn covers(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let below = pattern.strip_prefix("*.");
    let parent = host.split_once('.').map(|(_, parent)| parent);
    matches!((below, parent), (Some(below), Some(parent)) if below.eq_ignore_ascii_case(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        assert!(covers("Live.example.com", "live.example.com"));
        assert!(covers("*.example.com", "live.example.com"));
        assert!(!covers("*.example.com", "a.live.example.com"));
        assert!(!covers("*.example.com", "example.com"));
    }
}
