//! A player: a client that has connected by RTMP and plays the broadcast. It is fed as a destination is, over a
//! connection that came from the other side; one that is too slow goes on at the newest keyframe, and one that takes
//! nothing is closed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_link::{HandedOver, SessionId, ViewEndReason};

use super::{
    feed::{Feed, Wire},
    report::Totals,
};
use crate::{
    broadcast::renditions::Rings,
    broadcast::ring::RingId,
    context::Context,
    ids::ConnId,
    io::{Close, Output, TcpEvent},
    rtmp::{ServerOutput, ServerSession, ingest::resumed_player},
    timers::LazyTimer,
};

/// A client that wants to play, as control hands it over.
#[derive(Debug)]
pub(crate) struct PlayOffer {
    pub(crate) session: SessionId,
    pub(crate) connection: HandedOver,
    pub(crate) start_timeout: Duration,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) session: SessionId,
    conn: ConnId,
    rtmp: ServerSession,
    feed: Feed,
    totals: Totals,
    /// Without media until then, it ends.
    start_deadline: Instant,
    /// Media flows.
    is_watching: bool,
    /// Each write moves its deadlines.
    timer: LazyTimer,
}

impl Player {
    /// Takes the connection over, and lets the client begin.
    ///
    /// # Errors
    /// When its state is not one in which `play` waits for an answer: it is closed.
    pub(crate) fn accept(ctx: &mut Context, conn: ConnId, offer: PlayOffer) -> Result<Self, ()> {
        let PlayOffer {
            session,
            connection,
            start_timeout,
        } = offer;
        let rtmp = adopt(ctx, conn, connection)?;
        let mut player = Self {
            session,
            conn,
            rtmp,
            feed: Feed::of_player(),
            totals: Totals::default(),
            start_deadline: ctx.now + start_timeout,
            is_watching: false,
            timer: LazyTimer::default(),
        };
        player.rtmp.accept_play();
        player.answer(ctx);
        ctx.output(Output::Inspect { conn });
        Ok(player)
    }

    /// Takes the connection over, says why it cannot be, and closes it.
    pub(crate) fn refuse(
        ctx: &mut Context,
        conn: ConnId,
        offer: PlayOffer,
        code: &str,
        words: &str,
    ) {
        if let Ok(mut rtmp) = adopt(ctx, conn, offer.connection) {
            rtmp.reject_play(code, words);
            let (slices, _) = take(&mut rtmp);
            ctx.output(Output::Write { conn, slices });
            let how = Close::Flush;
            ctx.output(Output::Close { conn, how });
        }
    }

    /// Whether media flows.
    pub(crate) fn is_watching(&self) -> bool {
        self.is_watching
    }

    /// Something happened on its connection: why it is over, if it is.
    pub(crate) fn tcp(&mut self, ctx: &mut Context, event: &TcpEvent<'_>) -> Option<ViewEndReason> {
        let now = ctx.now;
        match event {
            TcpEvent::Received(bytes) => {
                if let Err(error) = self.rtmp.handle(bytes) {
                    tracing::debug!(session = %self.session, %error, "a player breaks RTMP");
                    return Some(ViewEndReason::Lost);
                }
                if !self.answer(ctx) {
                    return Some(ViewEndReason::PeerClosed);
                }
            }
            TcpEvent::Accepted { bytes } => self.feed.liveness.accepted(now, *bytes),
            TcpEvent::Info(info) => {
                let news = self.feed.liveness.inspected(now, *info);
                self.totals.acked(now, news);
            }
            TcpEvent::Closed { .. } => return Some(ViewEndReason::Lost),
            TcpEvent::Connected => {}
        }
        // One that asks and does not read.
        self.feed.is_flooded().then_some(ViewEndReason::Lost)
    }

    /// Gives it what is new in the publisher's ring; whether media flows since now.
    pub(crate) fn feed(&mut self, ctx: &mut Context, rings: Rings<'_>) -> bool {
        let Some(writer) = self.rtmp.player() else {
            return false;
        };
        let conn = self.conn;
        let wire = &mut Wire {
            conn,
            writer,
            totals: &mut self.totals,
            outputs: &mut ctx.outputs,
            copied_bytes: &mut ctx.counters.payload_copied_bytes,
        };
        self.feed.run(ctx.now, rings, Some(RingId::Source), wire);
        // Players complain of nothing: their user sees it.
        drop(self.feed.take_complaint());
        let begins = self.feed.is_open_for_media() && !self.is_watching;
        self.is_watching |= begins;
        if self.is_watching && self.feed.liveness.wants_inspection(ctx.now) {
            ctx.output(Output::Inspect { conn });
        }
        begins
    }

    /// Whether it waits for a keyframe to begin with; once.
    pub(crate) fn take_keyframe_wanted(&mut self) -> bool {
        self.feed.take_keyframe_wanted()
    }

    /// When its timer is to be set to; `None` while it can stay as it is.
    pub(crate) fn timer(&mut self) -> Option<Instant> {
        let times = [self.deadline(), self.feed.liveness.next_look()];
        self.timer.nearer(times.into_iter().flatten().min())
    }

    /// Its timer has fired: why it is over, if it is.
    pub(crate) fn timeout(&mut self, ctx: &mut Context) -> Option<ViewEndReason> {
        self.timer.fired();
        if self.deadline().is_some_and(|at| ctx.now >= at) {
            return Some(match self.is_watching {
                true => ViewEndReason::Lost,
                false => ViewEndReason::StartTimeout,
            });
        }
        if self.feed.liveness.wants_inspection(ctx.now) {
            let conn = self.conn;
            ctx.output(Output::Inspect { conn });
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        let start = (!self.is_watching).then_some(self.start_deadline);
        let times = [start, self.feed.liveness.deadline()];
        times.into_iter().flatten().min()
    }

    /// It is over: tells the client, unless its connection is gone, and closes that.
    pub(crate) fn close(&mut self, ctx: &mut Context, reason: ViewEndReason) {
        let conn = self.conn;
        let how = match reason {
            ViewEndReason::Lost => Close::Abort,
            _ => Close::Flush,
        };
        if how == Close::Flush {
            self.rtmp.end_play("the stream is over");
            self.answer(ctx);
        }
        ctx.output(Output::Close { conn, how });
    }

    /// Writes what the session has to say; false when the client wants no more.
    fn answer(&mut self, ctx: &mut Context) -> bool {
        let (slices, stops) = take(&mut self.rtmp);
        if !slices.is_empty() {
            let bytes = slices.iter().map(Bytes::len).sum();
            self.feed.liveness.written(ctx.now, bytes);
            let conn = self.conn;
            ctx.output(Output::Write { conn, slices });
        }
        !stops
    }
}

/// What the session has to say, and whether its client wants no more.
fn take(rtmp: &mut ServerSession) -> (Vec<Bytes>, bool) {
    let (mut slices, mut stops) = (Vec::new(), false);
    while let Some(output) = rtmp.poll() {
        match output {
            ServerOutput::Send(bytes) => slices.push(bytes),
            ServerOutput::StopPlaying => stops = true,
            _ => {}
        }
    }
    (slices, stops)
}

fn adopt(ctx: &mut Context, conn: ConnId, connection: HandedOver) -> Result<ServerSession, ()> {
    let resumed = resumed_player(&connection);
    let socket = connection.socket;
    ctx.output(Output::Adopt { conn, socket });
    resumed.ok_or_else(|| {
        tracing::error!("a player was handed over in a state that this version does not know");
        let how = Close::Abort;
        ctx.output(Output::Close { conn, how });
    })
}
