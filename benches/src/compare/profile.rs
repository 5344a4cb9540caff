//! What has to be known of each server: its configuration, its addresses, and how it is started.

use std::{net::SocketAddr, path::Path};

use serde::Serialize;

use super::Ports;
use crate::BenchError;
use crate::load::Ingest;

/// A server that can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// nginx with its RTMP module, as Debian has it.
    NginxRtmp,
    /// SRS 5 or newer.
    Srs,
    /// MediaMTX 1.11 or newer; ffmpeg sends its streams to the destinations.
    MediaMtx,
    /// Ant Media Server 2; destinations are added by REST.
    AntMedia,
}

/// Application in the addresses of all servers.
pub(super) const APPLICATION: &str = "live";
/// Application that Ant Media Server has after its installation.
const ANT_MEDIA_APPLICATION: &str = "LiveApp";

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NginxRtmp, Self::Srs, Self::MediaMtx, Self::AntMedia];

    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::NginxRtmp => "nginx-rtmp",
            Self::Srs => "srs",
            Self::MediaMtx => "mediamtx",
            Self::AntMedia => "ant-media",
        }
    }

    /// How it is published to unless something else is asked for.
    pub fn usual_ingest(self) -> Ingest {
        match self {
            Self::NginxRtmp | Self::AntMedia => Ingest::Rtmp,
            Self::Srs | Self::MediaMtx => Ingest::WebRtc,
        }
    }

    pub(super) fn check(self, ingest: Ingest) -> Result<(), BenchError> {
        if ingest == Ingest::WebRtc && self == Self::NginxRtmp {
            let text = "nginx-rtmp takes RTMP and no WHIP";
            return Err(BenchError::Argument(text.to_owned()));
        }
        Ok(())
    }

    /// Name of the configuration file.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::NginxRtmp => "nginx.conf",
            Self::Srs => "srs.conf",
            Self::MediaMtx => "mediamtx.yml",
            Self::AntMedia => "red5.properties",
        }
    }

    /// The command when none is given; `None` where nobody can know it.
    pub(super) fn command(self) -> Option<&'static str> {
        match self {
            Self::NginxRtmp => Some("nginx -e {dir}/error.log -p {dir} -c {config}"),
            Self::Srs | Self::MediaMtx | Self::AntMedia => None,
        }
    }

    /// The configuration: every stream goes to all sinks, under its own name.
    pub(super) fn configuration(
        self,
        directory: &Path,
        ports: &Ports,
        workers: usize,
        sinks: &[SocketAddr],
    ) -> String {
        match self {
            Self::NginxRtmp => nginx(directory, ports, workers, sinks),
            Self::Srs => srs(directory, ports, sinks),
            Self::MediaMtx => media_mtx(ports, sinks),
            Self::AntMedia => ant_media(ports),
        }
    }

    /// Where a stream is published to; `{stream}` is its id.
    pub(super) fn publish_url(self, ingest: Ingest, ports: &Ports) -> String {
        let (rtmp, http) = (ports.rtmp, ports.http);
        match (ingest, self) {
            (Ingest::Rtmp, Self::AntMedia) => {
                format!("rtmp://127.0.0.1:{rtmp}/{ANT_MEDIA_APPLICATION}/{{stream}}")
            }
            (Ingest::Rtmp, _) => format!("rtmp://127.0.0.1:{rtmp}/{APPLICATION}/{{stream}}"),
            (Ingest::WebRtc, Self::AntMedia) => {
                format!("http://127.0.0.1:{http}/{ANT_MEDIA_APPLICATION}/whip/{{stream}}")
            }
            (Ingest::WebRtc, Self::MediaMtx) => {
                format!("http://127.0.0.1:{http}/{APPLICATION}/{{stream}}/whip")
            }
            (Ingest::WebRtc, Self::Srs | Self::NginxRtmp) => {
                format!("http://127.0.0.1:{http}/rtc/v1/whip/?app={APPLICATION}&stream={{stream}}")
            }
        }
    }

    /// The application whose REST calls add the destinations; `None` where the configuration does.
    pub(super) fn rest_application(self) -> Option<&'static str> {
        (self == Self::AntMedia).then_some(ANT_MEDIA_APPLICATION)
    }
}

fn nginx(directory: &Path, ports: &Ports, workers: usize, sinks: &[SocketAddr]) -> String {
    let directory = directory.display();
    let pushes: Vec<String> = sinks
        .iter()
        .map(|sink| format!("      push rtmp://{sink}/{APPLICATION};\n"))
        .collect();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
         daemon off;\n\
         worker_processes {workers};\n\
         pid {directory}/nginx.pid;\n\
         error_log {directory}/error.log warn;\n\
         events {{ worker_connections 8192; }}\n\
         rtmp {{\n  access_log off;\n  server {{\n    listen 127.0.0.1:{rtmp};\n    chunk_size 4096;\n\
         \x20   application {APPLICATION} {{\n      live on;\n{pushes}    }}\n  }}\n}}\n",
        rtmp = ports.rtmp,
        pushes = pushes.concat()
    )
}

fn srs(directory: &Path, ports: &Ports, sinks: &[SocketAddr]) -> String {
    let Ports {
        rtmp, http, udp, ..
    } = ports;
    let sinks: Vec<String> = sinks.iter().map(ToString::to_string).collect();
    format!(
        "listen {rtmp};\nmax_connections 8000;\ndaemon off;\nsrs_log_tank console;\n\
         pid {directory}/srs.pid;\n\
         http_api {{ enabled on; listen {http}; }}\n\
         rtc_server {{ enabled on; listen {udp}; candidate 127.0.0.1; }}\n\
         vhost __defaultVhost__ {{\n  tcp_nodelay on;\n  min_latency on;\n\
         \x20 rtc {{ enabled on; rtc_to_rtmp on; }}\n\
         \x20 forward {{ enabled on; destination {sinks}; }}\n}}\n",
        directory = directory.display(),
        sinks = sinks.join(" ")
    )
}

/// The path of a stream (`live/…`) is application and key of its destinations.
fn media_mtx(ports: &Ports, sinks: &[SocketAddr]) -> String {
    let Ports {
        rtmp,
        http,
        udp,
        rtsp,
    } = ports;
    let outputs: Vec<String> = sinks
        .iter()
        .map(|sink| format!(" -map 0 -c:v copy -c:a aac -b:a 128k -f flv rtmp://{sink}/$MTX_PATH"))
        .collect();
    format!(
        "logLevel: warn\nrtsp: yes\nrtspAddress: 127.0.0.1:{rtsp}\nrtspTransports: [tcp]\n\
         rtmp: yes\nrtmpAddress: 127.0.0.1:{rtmp}\nhls: no\nsrt: no\n\
         webrtc: yes\nwebrtcAddress: 127.0.0.1:{http}\nwebrtcLocalUDPAddress: 127.0.0.1:{udp}\n\
         webrtcAdditionalHosts: [127.0.0.1]\n\
         paths:\n  all_others:\n    runOnReady: ffmpeg -v error -rtsp_transport tcp -i rtsp://127.0.0.1:{rtsp}/$MTX_PATH{outputs}\n\
         \x20   runOnReadyRestart: yes\n",
        outputs = outputs.concat()
    )
}

/// To be appended to `conf/red5.properties` of the installation: of two lines with one name, the last
/// counts.
fn ant_media(ports: &Ports) -> String {
    let Ports { rtmp, http, .. } = ports;
    format!("http.host=127.0.0.1\nhttp.port={http}\nrtmp.host=127.0.0.1\nrtmp.port={rtmp}\n")
}
