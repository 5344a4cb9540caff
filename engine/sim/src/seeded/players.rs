//! Clients of a seeded run that play by RTMP. Some stop reading, some are lost. What they are sent is judged as that of
//! destinations is (`stream_checker`).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_core::{
    io::{ConnId, Input, TcpEvent, TcpInfo},
    rtmp::{Message, message::type_id},
    simulation_hook::DESTINATION_OUTSTANDING_BYTES_MAX,
};
use shardcast_link::{Command, HandedOver, SessionId, ViewEndReason, ViewRefusal};

use super::{
    stream_checker::{Rules, StreamChecker},
    trace::note,
    traffic::UNIT_BYTES_MAX,
    world::{SimEvent, Verdict, World, ms},
};
use crate::{random::Random, rtmp_player::RtmpPlayer};

const START_TIMEOUT_MS: u64 = 10_000;
/// What stands still for so long is closed, and that is noticed by the next look.
const STALL_MS_MAX: u64 = 10_000 + 2_000;

/// How a player behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Well,
    /// Its kernel takes nothing more from some time on.
    Stalls,
    /// Its connection is lost.
    Breaks,
    /// Control ends its session.
    Removed,
}

/// One player, as it is planned.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlayerPlan {
    pub(super) at_ms: u64,
    /// What its manner says happens so long after it has come.
    after_ms: u64,
    manner: Manner,
}

impl PlayerPlan {
    pub(super) fn new(random: &mut Random, at_ms: u64) -> Self {
        Self {
            at_ms,
            after_ms: random.between(200, 8_000),
            manner: random.pick(&[
                Manner::Well,
                Manner::Well,
                Manner::Stalls,
                Manner::Stalls,
                Manner::Breaks,
                Manner::Removed,
            ]),
        }
    }
}

/// What happens to a player.
#[derive(Clone, Copy, Debug)]
pub(super) enum PlayerEvent {
    Comes,
    /// The kernel has taken so many bytes.
    Accepted(usize),
    /// The kernel tells how the connection is.
    Info,
    /// What its manner says.
    Happens,
}

#[derive(Debug)]
struct Player {
    plan: PlayerPlan,
    client: Option<RtmpPlayer>,
    conn: Option<ConnId>,
    checker: StreamChecker,
    refused: Option<ViewRefusal>,
    is_closed: bool,
    ended: Option<ViewEndReason>,
    is_stalled: bool,
    /// Its manner has shown.
    is_over: bool,
    written_bytes: usize,
    accepted_bytes: usize,
}

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Players {
    list: Vec<Player>,
}

impl Players {
    pub(super) fn new(plans: &[PlayerPlan]) -> Self {
        let player = |plan: &PlayerPlan| Player {
            plan: *plan,
            client: None,
            conn: None,
            checker: StreamChecker::of_server(false),
            refused: None,
            is_closed: false,
            ended: None,
            is_stalled: false,
            is_over: false,
            written_bytes: 0,
            accepted_bytes: 0,
        };
        Self {
            list: plans.iter().map(player).collect(),
        }
    }

    pub(super) fn send_away(&mut self) {
        self.list.clear();
    }

    pub(super) fn index(&self, conn: ConnId) -> Option<usize> {
        self.list.iter().position(|it| it.conn == Some(conn))
    }

    /// Connections that the shard has not closed.
    pub(super) fn open(&self) -> usize {
        let players = self.list.iter();
        players
            .filter(|it| it.conn.is_some() && !it.is_closed)
            .count()
    }

    /// The shard takes a socket; whether it is a player's.
    pub(super) fn adopt(&mut self, conn: ConnId, socket: &str) -> bool {
        let Some(index) = index_of(socket) else {
            return false;
        };
        self.list[index].conn = Some(conn);
        true
    }

    /// The shard closes a connection; none that was closed.
    pub(super) fn close(&mut self, index: usize) -> Verdict {
        match std::mem::replace(&mut self.list[index].is_closed, true) {
            true => Err(format!("the connection of player {index} is closed twice")),
            false => Ok(()),
        }
    }

    /// What all of them were sent.
    pub(super) fn pictures(&self) -> u64 {
        self.list.iter().map(|it| it.checker.pictures).sum()
    }
}

fn name_of(index: usize) -> String {
    format!("p{index}")
}

/// Which player this name is of.
pub(super) fn index_of(name: &str) -> Option<usize> {
    name.strip_prefix('p')?.parse().ok()
}

impl World {
    pub(super) fn invite_players(&mut self) {
        for index in 0..self.players.list.len() {
            let at_ms = self.players.list[index].plan.at_ms;
            self.after(ms(at_ms), SimEvent::Player(index, PlayerEvent::Comes));
        }
    }

    pub(super) fn player_event(&mut self, index: usize, event: PlayerEvent) -> Verdict {
        match event {
            PlayerEvent::Comes => self.player_comes(index),
            PlayerEvent::Accepted(bytes) => {
                self.players.list[index].accepted_bytes += bytes;
                self.player_tcp(index, TcpEvent::Accepted { bytes })
            }
            PlayerEvent::Info => {
                let player = &self.players.list[index];
                let info = TcpInfo {
                    acked_bytes: player.accepted_bytes as u64,
                    in_flight: player.written_bytes > player.accepted_bytes,
                    rtt_us: 1_000,
                    ..TcpInfo::default()
                };
                self.player_tcp(index, TcpEvent::Info(info))
            }
            PlayerEvent::Happens => self.player_happens(index),
        }
    }

    fn player_tcp(&mut self, index: usize, event: TcpEvent<'_>) -> Verdict {
        let player = &self.players.list[index];
        match player.conn.filter(|_| !player.is_closed) {
            Some(conn) => self.tcp(conn, event),
            None => Ok(()),
        }
    }

    fn player_comes(&mut self, index: usize) -> Verdict {
        let is_on_air = self.view().is_on_air();
        let (client, read) = RtmpPlayer::begin();
        self.players.list[index].client = Some(client);
        self.handle(Input::Command(Command::ViewRtmp {
            session: SessionId(name_of(index)),
            broadcast: self.wanted.id.clone(),
            connection: HandedOver {
                socket: name_of(index),
                remote: "192.0.2.10:40000".to_owned(),
                read_base64: BASE64.encode(&read),
            },
            start_timeout_ms: START_TIMEOUT_MS,
        }))?;
        let player = &self.players.list[index];
        note!(self, "player {index} comes: {:?}", player.plan);
        let is_right = match player.refused {
            None => is_on_air && player.conn.is_some(),
            Some(ViewRefusal::NotOnAir) => !is_on_air && player.is_closed,
            Some(ViewRefusal::Unplayable) => self.publisher.foreign && player.is_closed,
            Some(_) => false,
        };
        if !is_right {
            let told = player.refused;
            return Err(format!("player {index} is told {told:?}"));
        }
        if player.refused.is_some() {
            self.tally.count("player refused");
        } else {
            self.tally.count("player came");
            let after_ms = player.plan.after_ms;
            self.after(ms(after_ms), SimEvent::Player(index, PlayerEvent::Happens));
        }
        Ok(())
    }

    fn player_happens(&mut self, index: usize) -> Verdict {
        let player = &mut self.players.list[index];
        if player.is_closed {
            return Ok(());
        }
        if player.is_stalled {
            return Err(format!(
                "player {index} has taken nothing for long, and is kept"
            ));
        }
        player.is_over = true;
        match player.plan.manner {
            Manner::Well => Ok(()),
            Manner::Stalls => {
                self.tally.count("player stops reading");
                player.is_stalled = true;
                Ok(())
            }
            Manner::Breaks => {
                self.tally.count("player lost");
                let reason = "connection reset by peer".to_owned();
                let retryable = true;
                self.player_tcp(index, TcpEvent::Closed { reason, retryable })?;
                self.is_gone(index)
            }
            Manner::Removed => {
                self.tally.count("player removed");
                let session = SessionId(name_of(index));
                self.handle(Input::Command(Command::EndView { session }))?;
                self.is_gone(index)
            }
        }
    }

    fn is_gone(&self, index: usize) -> Verdict {
        match self.players.list[index].ended {
            Some(_) => Ok(()),
            None => Err(format!("player {index} is over and was not ended")),
        }
    }

    /// The shard writes to a player.
    pub(super) fn write_to_player(&mut self, index: usize, slices: &[Bytes]) -> Verdict {
        let player = &mut self.players.list[index];
        if player.is_closed {
            return Err(format!("a write to player {index}, which was closed"));
        }
        let bytes: usize = slices.iter().map(Bytes::len).sum();
        player.written_bytes += bytes;
        if player.is_stalled {
            // From the first byte on that it does not take.
            let was_waiting = player.written_bytes - bytes > player.accepted_bytes;
            let waiting = player.written_bytes - player.accepted_bytes;
            if waiting > DESTINATION_OUTSTANDING_BYTES_MAX + UNIT_BYTES_MAX {
                return Err(format!("player {index} has {waiting} bytes outstanding"));
            }
            if !was_waiting {
                let event = SimEvent::Player(index, PlayerEvent::Happens);
                self.after(ms(STALL_MS_MAX), event);
            }
            return Ok(());
        }
        let Some(client) = &mut player.client else {
            return Err(format!("a write to player {index}, which has not come"));
        };
        let messages = client.receive(slices)?;
        for message in &messages {
            self.player_reads(index, message)
                .map_err(|broken| format!("player {index}: {broken}"))?;
        }
        self.after(ms(0), SimEvent::Player(index, PlayerEvent::Accepted(bytes)));
        Ok(())
    }

    fn player_reads(&mut self, index: usize, message: &Message) -> Verdict {
        let checker = &mut self.players.list[index].checker;
        match message.type_id {
            type_id::DATA_AMF0 => {
                checker.metadata();
                Ok(())
            }
            type_id::AUDIO | type_id::VIDEO => checker.message(
                message,
                Rules {
                    now: self.now,
                    admitted: &self.publisher.admitted,
                    ledger: &self.encoders.ledger,
                    encoders: self.plan.encoders,
                    audio: self.plan.audio,
                    video_transcoders: &self.video_transcoders,
                    may_pass: true,
                    may_be_made: false,
                    may_pause: self.publisher.foreign,
                    punctual: !self.publisher.stalled,
                    foreign: self.publisher.foreign,
                    lossy: self.publisher.lossy,
                    whole: !self.publisher.bunched && !self.publisher.foreign,
                    interleaved: !self.publisher.strange_clock,
                    fine: false,
                    silent_ms_max: self.plan.silent_ms_max(),
                    keyframe_ms: u32::try_from(self.wanted.keyframe_interval_ms).unwrap(),
                    frame_ms: u32::try_from(self.plan.frame_ms).unwrap(),
                },
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn player_refused(&mut self, index: usize, refusal: ViewRefusal) {
        self.players.list[index].refused = Some(refusal);
    }

    pub(super) fn player_ended(&mut self, index: usize, reason: ViewEndReason) -> Verdict {
        note!(self, "player {index} ends: {reason:?}");
        let is_on_air = self.view().is_on_air();
        let player = &mut self.players.list[index];
        let manner = player.plan.manner;
        let is_right = match reason {
            ViewEndReason::Requested => player.is_over && manner == Manner::Removed,
            ViewEndReason::BroadcastEnded => !is_on_air,
            ViewEndReason::Lost => player.is_stalled || player.is_over && manner == Manner::Breaks,
            ViewEndReason::StartTimeout => player.checker.media == 0,
            _ => false,
        };
        if !is_right || player.ended.replace(reason).is_some() || !player.is_closed {
            return Err(format!("player {index} ends by {reason:?}"));
        }
        if player.is_stalled && reason == ViewEndReason::Lost {
            self.tally.count("player closed that took nothing");
        }
        Ok(())
    }
}
