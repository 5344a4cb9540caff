//! Those that play a broadcast by RTMP: consumers of the publisher's ring, over connections that came from
//! outside and that control has let in. They are counted among the viewers of a shard.

use std::collections::BTreeMap;

use shardcast_link::{Event, Fault, Problem, VideoCodec, ViewEndReason, ViewRefusal};

use super::{Broadcast, Source, consumers::rings};
use crate::{
    context::{Context, TimerKey},
    destination::{PlayOffer, Player},
    ids::{ConnId, ConnOwner, SessionKey},
    io::TcpEvent,
    limits::{VIEWERS_MAX, VIEWERS_PER_BROADCAST_MAX},
};

/// What a client is told for whom there is nothing to play (RTMP: `NetStream.Play.*`).
const NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
const FAILED: &str = "NetStream.Play.Failed";

/// Why a client may not play.
#[derive(Debug)]
pub(crate) struct PlayRefusal {
    refusal: ViewRefusal,
    problem: Problem,
}

impl PlayRefusal {
    pub(crate) fn not_on_air() -> Self {
        Self {
            refusal: ViewRefusal::NotOnAir,
            problem: problem(Fault::Publisher, "the broadcast is not on air"),
        }
    }
}

/// Tells a client and control why it may not play.
pub(crate) fn refuse_player(
    ctx: &mut Context,
    conn: ConnId,
    offer: PlayOffer,
    refused: PlayRefusal,
) {
    let PlayRefusal { refusal, problem } = refused;
    let code = match refusal {
        ViewRefusal::NotOnAir => NOT_FOUND,
        _ => FAILED,
    };
    let session = offer.session.clone();
    Player::refuse(ctx, conn, offer, code, &problem.message);
    ctx.event(Event::ViewRefused {
        session,
        refusal,
        problem,
    });
}

/// All players of a broadcast.
#[derive(Debug, Default)]
pub(crate) struct Players {
    sessions: BTreeMap<SessionKey, Box<Player>>,
}

impl Players {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn contains(&self, key: SessionKey) -> bool {
        self.sessions.contains_key(&key)
    }

    /// Those whose media flows.
    pub(super) fn watching(&self) -> u32 {
        let sessions = self.sessions.values();
        let watching = sessions.filter(|player| player.is_watching());
        u32::try_from(watching.count()).unwrap_or(u32::MAX)
    }

    /// Whether one of them waits for a keyframe to begin with; once.
    pub(super) fn take_keyframe_wanted(&mut self) -> bool {
        let sessions = self.sessions.values_mut();
        sessions.fold(false, |wanted, player| {
            player.take_keyframe_wanted() | wanted
        })
    }
}

impl Broadcast {
    /// Takes a client that wants to play.
    pub(crate) fn play_rtmp(&mut self, ctx: &mut Context, offer: PlayOffer) {
        let key = SessionKey {
            broadcast: self.key,
            number: ctx.ids.next(),
        };
        let (conn, session) = (ConnId(ConnOwner::Player(key)), offer.session.clone());
        if let Err(refusal) = self.may_be_played(ctx) {
            return refuse_player(ctx, conn, offer, refusal);
        }
        let Ok(player) = Player::accept(ctx, conn, offer) else {
            return ctx.event(Event::ViewRefused {
                session,
                refusal: ViewRefusal::Internal,
                problem: problem(Fault::Internal, "the connection could not be taken over"),
            });
        };
        self.players.sessions.insert(key, Box::new(player));
        ctx.viewers.sessions += 1;
        ctx.demux.add_encoder(key, session);
        self.feed_player(ctx, key);
        self.flush(ctx);
    }

    fn may_be_played(&self, ctx: &Context) -> Result<(), PlayRefusal> {
        if self.source == Source::Off {
            return Err(PlayRefusal::not_on_air());
        }
        let here = self.players.len() + self.viewers.len();
        if ctx.viewers.sessions >= VIEWERS_MAX || here >= VIEWERS_PER_BROADCAST_MAX {
            let words = "there are as many viewers here as may be: add shards or machines";
            return Err(PlayRefusal {
                refusal: ViewRefusal::Full,
                problem: problem(Fault::Operator, words),
            });
        }
        match self.ingest.source_facts(ctx.now).codec {
            None | Some(VideoCodec::H264) => Ok(()),
            Some(codec) => {
                let words = format!(
                    "the publisher sends {}, which is not sent over RTMP: let it prefer H.264",
                    codec.name()
                );
                Err(PlayRefusal {
                    refusal: ViewRefusal::Unplayable,
                    problem: problem(Fault::Publisher, &words),
                })
            }
        }
    }

    /// Something happened on the connection of a player.
    pub(crate) fn player_tcp(&mut self, ctx: &mut Context, key: SessionKey, event: &TcpEvent<'_>) {
        let Some(player) = self.players.sessions.get_mut(&key) else {
            return;
        };
        match player.tcp(ctx, event) {
            Some(reason) => self.end_player(ctx, key, reason),
            // There may be room for more.
            None => self.feed_player(ctx, key),
        }
    }

    pub(super) fn player_timeout(&mut self, ctx: &mut Context, key: SessionKey) {
        let Some(player) = self.players.sessions.get_mut(&key) else {
            return;
        };
        match player.timeout(ctx) {
            Some(reason) => self.end_player(ctx, key, reason),
            None => set_timer(ctx, key, player),
        }
    }

    /// Gives every player what is new.
    pub(super) fn feed_players(&mut self, ctx: &mut Context) {
        let mut next = self.players.sessions.keys().next().copied();
        while let Some(key) = next {
            self.feed_player(ctx, key);
            let behind = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
            let mut others = self.players.sessions.range(behind);
            next = others.next().map(|(key, _)| *key);
        }
    }

    fn feed_player(&mut self, ctx: &mut Context, key: SessionKey) {
        let rings = rings(&self.ingest, &self.renditions, self.source);
        let Some(player) = self.players.sessions.get_mut(&key) else {
            return;
        };
        let begins = player.feed(ctx, rings);
        set_timer(ctx, key, player);
        if begins {
            ctx.event(Event::Viewing {
                session: player.session.clone(),
                broadcast: self.wanted.id.clone(),
            });
        }
    }

    /// Ends one player and tells control.
    pub(super) fn end_player(&mut self, ctx: &mut Context, key: SessionKey, reason: ViewEndReason) {
        let Some(mut player) = self.players.sessions.remove(&key) else {
            return;
        };
        ctx.demux.remove(key, &player.session);
        ctx.timers.set(TimerKey::Session(key), None);
        ctx.viewers.sessions = ctx.viewers.sessions.saturating_sub(1);
        player.close(ctx, reason);
        ctx.event(Event::ViewEnded {
            session: player.session.clone(),
            broadcast: self.wanted.id.clone(),
            reason,
        });
    }

    /// The broadcast is over for all of them.
    pub(super) fn end_players(&mut self, ctx: &mut Context, reason: ViewEndReason) {
        while let Some(key) = self.players.sessions.keys().next().copied() {
            self.end_player(ctx, key, reason);
        }
    }
}

fn set_timer(ctx: &mut Context, key: SessionKey, player: &mut Player) {
    if let Some(at) = player.timer() {
        ctx.timers.set(TimerKey::Session(key), Some(at));
    }
}

fn problem(fault: Fault, message: &str) -> Problem {
    let message = message.to_owned();
    Problem { fault, message }
}
