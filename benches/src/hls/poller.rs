//! One poller, as a player of Low-Latency HLS is: it reloads the playlist by blocking requests, and fetches each
//! part as soon as it is listed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::connection::{Answer, Body, HttpConnection};
use super::playlist::{Part, Playlist};
use super::totals::Shared;
use crate::BenchError;

/// Wait after a failure.
const RETRY: Duration = Duration::from_millis(500);

/// What a player has received and not played. It plays in real time.
#[derive(Debug, Default)]
struct Playout {
    /// When the first part would have begun to play, had there been no stall.
    began: Option<Instant>,
    received: Duration,
}

impl Playout {
    /// Takes a part. Returns for how long the player had nothing to play.
    fn take(&mut self, now: Instant, duration: Duration) -> Option<Duration> {
        let stalled = self.began.as_mut().and_then(|began| {
            let stalled = now.duration_since(*began).checked_sub(self.received)?;
            *began += stalled;
            Some(stalled)
        });
        self.received += duration;
        stalled.filter(|it| !it.is_zero())
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Poller {
    connection: HttpConnection,
    /// Path of the media playlist.
    path: String,
    shared: Arc<Shared>,
    playout: Playout,
    /// Addresses of parts that are to be fetched, and their lengths.
    due: Vec<(String, Duration)>,
    init: Option<String>,
    /// Place of the part behind the last one that was listed.
    next: (u64, u32),
    has_begun: bool,
}

impl Poller {
    pub(super) fn new(server: SocketAddr, path: &str, shared: Arc<Shared>) -> Self {
        Self {
            connection: HttpConnection::new(server),
            path: path.to_owned(),
            shared,
            playout: Playout::default(),
            due: Vec::new(),
            init: None,
            next: (0, 0),
            has_begun: false,
        }
    }

    /// Plays until the broadcast ends, and begins anew after each failure.
    pub(super) async fn run(mut self) {
        while let Err(error) = self.play().await {
            self.shared.error(&error.to_string());
            sleep(RETRY).await;
        }
    }

    async fn play(&mut self) -> Result<(), BenchError> {
        self.playout = Playout::default();
        self.due.clear();
        self.init = None;
        self.open().await?;
        loop {
            self.fetch_due().await?;
            if self.playout.began.is_none() {
                self.playout.began = Some(Instant::now());
                if !std::mem::replace(&mut self.has_begun, true) {
                    self.shared.begun();
                }
            }
            if self.reload().await? {
                return Ok(());
            }
        }
    }

    /// Reads the playlist as it is, and chooses where to begin.
    async fn open(&mut self) -> Result<(), BenchError> {
        let path = self.path.clone();
        self.playlist(&path).await?;
        let playlist = read(&self.connection)?;
        if let Some(variant) = playlist.variant {
            let path = beside(&self.path, variant);
            self.path.clone_from(&path);
            self.playlist(&path).await?;
        }
        let playlist = read(&self.connection)?;
        let parts = playlist.first_parts();
        if parts.is_empty() {
            return Err(refused("a playlist without parts".to_owned()));
        }
        self.due
            .extend(parts.iter().map(|part| due(&self.path, part)));
        self.next = playlist.next;
        let init = playlist.init.map(|uri| beside(&self.path, uri));
        self.fetch_init(init).await
    }

    /// Waits for what comes next. Returns whether the broadcast has ended.
    async fn reload(&mut self) -> Result<bool, BenchError> {
        let (segment, part) = self.next;
        let path = format!(
            "{}?_HLS_msn={segment}&_HLS_part={part}&_HLS_skip=YES",
            self.path
        );
        self.playlist(&path).await?;
        let playlist = read(&self.connection)?;
        let new = playlist.parts.iter().filter(|it| it.place >= self.next);
        self.due.extend(new.map(|part| due(&self.path, part)));
        if self.due.is_empty() && !playlist.is_ended {
            return Err(refused(format!(
                "a playlist without part {part} of segment {segment}"
            )));
        }
        self.next = playlist.next;
        let is_ended = playlist.is_ended;
        let init = playlist.init.map(|uri| beside(&self.path, uri));
        self.fetch_init(init).await?;
        Ok(is_ended)
    }

    /// Fetches an init segment that is not the last one.
    async fn fetch_init(&mut self, init: Option<String>) -> Result<(), BenchError> {
        match init {
            Some(path) if self.init.as_ref() != Some(&path) => {
                self.get(&path, Body::Drop).await?;
                self.init = Some(path);
            }
            _ => {}
        }
        Ok(())
    }

    async fn fetch_due(&mut self) -> Result<(), BenchError> {
        for (path, duration) in std::mem::take(&mut self.due) {
            let asked = Instant::now();
            self.get(&path, Body::Drop).await?;
            let now = Instant::now();
            self.shared.part(now - asked);
            if let Some(stalled) = self.playout.take(now, duration) {
                self.shared.stall(stalled);
            }
        }
        Ok(())
    }

    async fn playlist(&mut self, path: &str) -> Result<(), BenchError> {
        self.get(path, Body::Keep).await
    }

    async fn get(&mut self, path: &str, body: Body) -> Result<(), BenchError> {
        let answer = self.connection.get(path, body).await;
        let Answer { status, body_bytes } = answer?;
        self.shared.answer(body_bytes);
        if status == 200 {
            return Ok(());
        }
        Err(refused(format!("{status} to {path}")))
    }
}

fn read(connection: &HttpConnection) -> Result<Playlist<'_>, BenchError> {
    let text = connection.text();
    Playlist::read(text).ok_or_else(|| refused(format!("no playlist: {text}")))
}

fn refused(answer: String) -> BenchError {
    let what = "a request of an HLS player";
    BenchError::Refused { what, answer }
}

fn due(path: &str, part: &Part<'_>) -> (String, Duration) {
    (beside(path, part.uri), part.duration)
}

/// The address of a file that is named relative to another.
fn beside(path: &str, name: &str) -> String {
    let (mut folder, mut name) = (folder_of(path), name);
    while let Some(rest) = name.strip_prefix("../") {
        (folder, name) = (folder_of(folder), rest);
    }
    format!("{folder}/{name}")
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_that_runs_dry_pauses_for_as_long() {
        let ms = Duration::from_millis;
        let began = Instant::now();
        let mut playout = Playout::default();
        assert_eq!(playout.take(began, ms(600)), None);
        assert_eq!(playout.take(began, ms(600)), None);
        playout.began = Some(began);
        assert_eq!(playout.take(began + ms(1_100), ms(300)), None);
        // 1,500 ms were there.
        assert_eq!(playout.take(began + ms(1_700), ms(300)), Some(ms(200)));
        assert_eq!(playout.take(began + ms(1_900), ms(300)), None);
    }

    #[test]
    fn names_are_relative_to_the_playlist() {
        assert_eq!(
            beside("/app/streams/s.m3u8", "p.m4s?x=1"),
            "/app/streams/p.m4s?x=1"
        );
        let master = "/app/streams/ll-hls/s/s__master.m3u8";
        assert_eq!(beside(master, "../../s.m3u8"), "/app/streams/s.m3u8");
    }
}
