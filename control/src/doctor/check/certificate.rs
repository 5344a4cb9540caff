//! The certificate of the HTTPS port.

use super::super::{
    host::{Certificate, Host},
    report::{Finding, Topic},
};

const CERTIFICATE: Topic = Topic("certificate", "Certificate");

const DAY_S: i64 = 86_400;
/// Certificates of 90 days are renewed 30 days before their end; one with less than this was not.
const DAYS_MIN: i64 = 14;

const REFUSED: &str =
    "browsers do not connect to wss:// and https:// here, so nobody can publish by it";
const RENEW: &str = "certbot renew, or give other files with --tls-cert and --tls-key; Shardcast reads them again by itself";
const GET_ONE: &str = "certbot certonly --standalone -d SERVER_NAME, then --tls-cert and --tls-key";

/// Whether browsers take it, and for how long.
pub(super) fn certificate(host: &Host) -> Finding {
    let (file, is_own, from, until, names) = match &host.certificate {
        Certificate::NotMade => {
            return CERTIFICATE
                .warning("none is set, so Shardcast makes a self-signed one at its start")
                .costs(REFUSED)
                .mend(GET_ONE);
        }
        Certificate::Unusable(problem) => {
            return CERTIFICATE
                .fault(problem.clone())
                .costs("Shardcast does not start, or serves the one that it had")
                .mend(RENEW);
        }
        Certificate::Read {
            file,
            is_own,
            not_before_unix_s,
            not_after_unix_s,
            names_server,
        } => (
            file.display(),
            *is_own,
            *not_before_unix_s,
            *not_after_unix_s,
            names_server,
        ),
    };
    let now = i64::try_from(host.now_unix_s).unwrap_or(i64::MAX);
    let days = until.saturating_sub(now).div_euclid(DAY_S);
    if let Some(finding) = not_in_force(&file.to_string(), is_own, now, from, until) {
        return finding;
    }
    if is_own {
        return CERTIFICATE
            .warning(format!("{file} is self-signed; {days} days left"))
            .costs(REFUSED)
            .mend(GET_ONE);
    }
    if let Some(Err(others)) = names {
        return CERTIFICATE
            .fault(format!(
                "{file} does not name server_name; it names {others}"
            ))
            .costs(REFUSED)
            .mend(GET_ONE);
    }
    if days < DAYS_MIN {
        return CERTIFICATE
            .warning(format!("{file} ends in {days} days"))
            .costs("after that, nobody can publish by wss:// and https://")
            .mend(RENEW);
    }
    CERTIFICATE.ok(format!("{file}, {days} days left"))
}

/// What is wrong when `now` is not between the certificate's dates, all in seconds since 1970.
fn not_in_force(file: &str, is_own: bool, now: i64, from: i64, until: i64) -> Option<Finding> {
    if now < from {
        let days = from.saturating_sub(now) / DAY_S + 1;
        return Some(
            CERTIFICATE
                .fault(format!(
                    "{file} begins in {days} days, by this machine's clock"
                ))
                .costs(REFUSED)
                .mend(
                    "timedatectl shows the clock; systemctl enable --now systemd-timesyncd sets it",
                ),
        );
    }
    (now > until).then(|| {
        let days = now.saturating_sub(until) / DAY_S;
        CERTIFICATE
            .fault(format!("{file} ended {days} days ago"))
            .costs(REFUSED)
            .mend(if is_own { GET_ONE } else { RENEW })
    })
}
