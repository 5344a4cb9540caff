//! The client of WHIP (RFC 9725) and WHEP: one POST with the offer, and a DELETE at the end.

use std::net::SocketAddr;

use tokio::net::lookup_host;
use url::Url;

use crate::BenchError;
use crate::harness::send;

/// One session at an endpoint.
#[derive(Debug)]
pub(crate) struct SdpSession {
    server: SocketAddr,
    /// Path and query of the endpoint.
    endpoint: String,
    /// Path and query of the session, once there is one.
    session: Option<String>,
}

impl SdpSession {
    /// Resolves the endpoint; sends nothing.
    pub(crate) async fn new(url: &str) -> Result<Self, BenchError> {
        let parsed = Url::parse(url).map_err(|e| BenchError::Argument(format!("{url}: {e}")))?;
        let port = parsed.port_or_known_default().unwrap_or(80);
        let host = parsed.host_str().unwrap_or_default();
        let mut found = lookup_host((host, port))
            .await
            .map_err(|e| BenchError::network("name", e))?;
        let server = found.next();
        Ok(Self {
            server: server.ok_or_else(|| BenchError::network("name", "no address"))?,
            endpoint: path_and_query(&parsed),
            session: None,
        })
    }

    /// Sends the offer, which has all candidates, and returns the answer.
    pub(crate) async fn offer(&mut self, sdp: &str) -> Result<String, BenchError> {
        let body = Some(("application/sdp", sdp.to_owned()));
        let response = send(self.server, "POST", &self.endpoint, body).await?;
        // 201 is what the RFC says; some servers answer 200.
        if !(200..300).contains(&response.status) {
            return Err(BenchError::Refused {
                what: "the offer",
                answer: format!("{}: {}", response.status, response.text),
            });
        }
        let base = Url::parse(&format!("http://{}{}", self.server, self.endpoint)).ok();
        self.session = response
            .location
            .and_then(|to| Some(path_and_query(&base?.join(&to).ok()?)));
        Ok(response.text)
    }

    /// Ends the session, if there is one.
    pub(crate) async fn delete(&mut self) -> Result<(), BenchError> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        send(self.server, "DELETE", &session, None).await?;
        Ok(())
    }
}

fn path_and_query(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}"));
    format!("{}{}", url.path(), query.unwrap_or_default())
}
