//! Clients that play: `rtmp://HOST/{app}/{stream}`, with a play token in the query. The shard goes on with the
//! connection, as with an encoder's.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use shardcast_log::{Limiter, outsider};
use tokio::time::sleep;

use super::session::{Refusal, Waiting};
use crate::{
    admission,
    publishing::{Wish, message::Play},
    signalling::{caller::Caller, commands, whip::session::Session},
    state::Control,
};

static REFUSED: Limiter = Limiter::refusals();

/// Lets the hub decide about `play`, and hands the client to the shard that has the broadcast.
pub(super) async fn begin(
    control: &Arc<Control>,
    client: Waiting,
    address: IpAddr,
    play: &Play,
) -> Option<Session> {
    let broadcast = &play.broadcast;
    let caller = Caller::of_peer(control, broadcast.application(), address);
    // No connection leaves this process before it is known that it may.
    let session = match admission::check_view(control, broadcast, &play.token) {
        _ if control.stopping.load(Ordering::Relaxed) => {
            Err(Refusal::denied("this server is stopping"))
        }
        Ok(_) => Session::open(control, caller, broadcast.clone())
            .ok_or_else(|| Refusal::denied("too many viewers")),
        Err(message) => Err(message.into()),
    };
    let mut session = match session {
        Ok(session) => session,
        Err(refusal) => {
            if let Some(left_out) = REFUSED.admit(Instant::now()) {
                let words = outsider(&refusal.words);
                tracing::info!(%broadcast, %address, %words, left_out, "a player was refused");
            }
            client.refuse(refusal).await;
            return None;
        }
    };
    let send = |connection| -> Result<(), Refusal> {
        commands::view(control, session.sender(), play, Wish::Rtmp(connection));
        session
            .refusal()
            .map_or(Ok(()), |message| Err(message.into()))
    };
    client.hand_over(control, send).await.then_some(session)
}

/// Waits for the end of a session that a shard has.
pub(super) async fn attend(control: &Arc<Control>, mut session: Session) {
    loop {
        tokio::select! {
            message = session.next() => if message.is_err() {
                return;
            },
            () = sleep(Duration::from_secs(2)) => {
                if !control.lock_hub().has_view_of(session.socket()) {
                    return;
                }
            }
        }
    }
}
