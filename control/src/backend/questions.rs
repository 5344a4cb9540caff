//! Whose attempt to publish the backend of an application is asked about next: clients take turns, and
//! ids that are live come first, since their publishers are on their way back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::oneshot, time::timeout};

use crate::{connection_limits::Network, displacement::displaced, limits, publishing::ClientKey};

/// Whose question it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Where it is.
    pub(crate) network: Network,
    /// The client may use REST, and may be a proxy.
    pub(crate) is_trusted: bool,
    /// The id is live, or held for its publisher.
    pub(crate) is_live: bool,
}

impl Asker {
    /// As whose its places are counted.
    fn client(self) -> ClientKey {
        (self.network, self.is_trusted)
    }
}

/// The questions of one application.
#[derive(Debug, Default)]
pub(super) struct Questions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many are under way, of each client that has any.
    of_client: HashMap<ClientKey, usize>,
    /// How many are under way about ids that are live.
    of_live: usize,
    /// And about others.
    of_others: usize,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    made: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    asker: Asker,
    turn: oneshot::Sender<Place>,
}

/// The right to ask; given on when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    questions: Arc<Questions>,
    asker: Asker,
}

impl Questions {
    /// Waits for the turn of `asker`. `None` when too many wait, or for too long, or when the
    /// question gives way to one of a client with fewer.
    pub(super) async fn place(self: &Arc<Self>, asker: Asker) -> Option<Place> {
        let (turn, given) = oneshot::channel();
        let number = self.lock().wait(asker, turn)?;
        let _attendance = Attendance {
            questions: self,
            number,
        };
        self.hand_out();
        timeout(limits::HOOK_CALL, given).await.ok()?.ok()
    }

    /// Gives the places that are free to those whose turn it is.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some(next) = self.lock().take_next() else {
                return;
            };
            let place = Place {
                questions: Arc::clone(self),
                asker: next.asker,
            };
            // The place of one that has just gone is given on as it is dropped, unlocked.
            drop(next.turn.send(place));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many questions of a client may wait.
fn most_waiting((_, is_trusted): ClientKey) -> usize {
    if is_trusted {
        limits::PUBLISH_CHECKS_WAITING_PER_TRUSTED_CLIENT_MAX
    } else {
        limits::PUBLISH_CHECKS_WAITING_PER_CLIENT_MAX
    }
}

impl State {
    /// Appends a question; its number. `None` when too many of its client wait, or when all places
    /// are taken and no client uses more of its own than this one. Otherwise the newest question of
    /// the client that uses the most gives way, whose [`Questions::place`] returns `None`.
    fn wait(&mut self, asker: Asker, turn: oneshot::Sender<Place>) -> Option<u64> {
        let of_client = |other: &&Waiting| other.asker.client() == asker.client();
        if self.waiting.iter().filter(of_client).count() >= most_waiting(asker.client()) {
            return None;
        }
        self.made += 1;
        let number = self.made;
        self.waiting.push(Waiting {
            number,
            asker,
            turn,
        });
        if self.waiting.len() > limits::PUBLISH_CHECKS_WAITING_MAX {
            let clients = self.waiting.iter().map(|other| other.asker.client());
            let index = displaced(clients.enumerate(), most_waiting)?;
            if self.waiting.remove(index).number == number {
                return None;
            }
        }
        debug_assert!(self.waiting.len() <= limits::PUBLISH_CHECKS_WAITING_MAX);
        Some(number)
    }

    /// Takes a place for the question whose turn it is, if there is one: of a live id first, then of
    /// the client with the fewest under way, then the oldest.
    fn take_next(&mut self) -> Option<Waiting> {
        if self.of_live + self.of_others >= limits::PUBLISH_CHECKS_MAX {
            return None;
        }
        let may_go = |(_, question): &(usize, &Waiting)| {
            let asker = question.asker;
            let of_kind = if asker.is_live {
                self.of_live
            } else {
                self.of_others
            };
            of_kind < limits::PUBLISH_CHECKS_OF_A_KIND_MAX
                && (asker.is_trusted
                    || self.of(asker.client()) < limits::PUBLISH_CHECKS_PER_CLIENT_MAX)
        };
        let turn = |(_, question): &(usize, &Waiting)| {
            let asker = question.asker;
            (!asker.is_live, self.of(asker.client()), question.number)
        };
        let waiting = self.waiting.iter().enumerate();
        let (index, _) = waiting.filter(may_go).min_by_key(turn)?;
        let next = self.waiting.remove(index);
        *self.of_kind(next.asker) += 1;
        *self.of_client.entry(next.asker.client()).or_default() += 1;
        Some(next)
    }

    fn of_kind(&mut self, asker: Asker) -> &mut usize {
        if asker.is_live {
            &mut self.of_live
        } else {
            &mut self.of_others
        }
    }

    fn of(&self, client: ClientKey) -> usize {
        self.of_client.get(&client).copied().unwrap_or(0)
    }

    fn give_back(&mut self, asker: Asker) {
        *self.of_kind(asker) -= 1;
        let left = self.of_client.remove(&asker.client()).unwrap_or(1) - 1;
        if left > 0 {
            self.of_client.insert(asker.client(), left);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.questions.lock().give_back(self.asker);
        self.questions.hand_out();
    }
}

/// Takes a question back that is no longer waited for.
struct Attendance<'a> {
    questions: &'a Questions,
    number: u64,
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        let mut state = self.questions.lock();
        state.waiting.retain(|other| other.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot::error::TryRecvError, task::JoinHandle, time::sleep};

    use super::*;

    fn asker(client: u8, is_live: bool) -> Asker {
        Asker {
            network: Network::of([192, 0, 2, client].into()),
            is_trusted: false,
            is_live,
        }
    }

    /// Asks as `asker` `count` times, without end.
    async fn ask(
        questions: &Arc<Questions>,
        asker: Asker,
        count: usize,
    ) -> Vec<JoinHandle<Option<Place>>> {
        let mut asked = Vec::new();
        for _ in 0..count {
            let questions = Arc::clone(questions);
            asked.push(tokio::spawn(async move { questions.place(asker).await }));
            tokio::task::yield_now().await;
        }
        asked
    }

    /// The places that those who asked have now.
    async fn places(asked: Vec<JoinHandle<Option<Place>>>) -> Vec<Place> {
        let mut places = Vec::new();
        for one in asked {
            sleep(Duration::ZERO).await;
            if one.is_finished() {
                places.extend(one.await.unwrap());
            }
        }
        places
    }

    #[tokio::test]
    async fn one_client_has_so_many_under_way_and_waiting_and_holds_up_nobody() {
        let questions = Arc::new(Questions::default());
        let flood = ask(&questions, asker(1, false), 1_000).await;
        sleep(Duration::from_millis(20)).await;
        let waiting = questions.lock().waiting.len();
        assert_eq!(waiting, limits::PUBLISH_CHECKS_WAITING_PER_CLIENT_MAX);
        let other = places(ask(&questions, asker(2, false), 1).await).await;
        assert_eq!(other.len(), 1);
        let held = places(flood).await;
        assert_eq!(held.len(), limits::PUBLISH_CHECKS_PER_CLIENT_MAX);
    }

    #[tokio::test]
    async fn a_full_queue_has_a_place_for_a_client_that_has_none() {
        let questions = Arc::new(Questions::default());
        let mut turns = Vec::new();
        let mut wait = |client: u8| {
            let (turn, given) = oneshot::channel();
            let number = questions.lock().wait(asker(client, false), turn);
            turns.push((client, given));
            number.is_some()
        };
        let of_each = limits::PUBLISH_CHECKS_WAITING_PER_CLIENT_MAX;
        let clients = limits::PUBLISH_CHECKS_WAITING_MAX / of_each;
        for n in 0..clients * of_each {
            assert!(wait(u8::try_from(n % clients).unwrap()));
        }
        let newcomer = 200;
        for _ in 0..of_each - 1 {
            assert!(wait(newcomer));
        }
        // Every other client has as many or one less now.
        assert!(!wait(newcomer));
        let others = turns.iter_mut().filter(|(client, _)| *client != newcomer);
        let answers = others.map(|(_, given)| given.try_recv());
        let displaced = answers.filter(|answer| matches!(answer, Err(TryRecvError::Closed)));
        assert_eq!(displaced.count(), of_each - 1);
        let waiting = questions.lock().waiting.len();
        assert_eq!(waiting, limits::PUBLISH_CHECKS_WAITING_MAX);
    }

    #[tokio::test]
    async fn who_has_the_fewest_under_way_is_next() {
        let questions = Arc::new(Questions::default());
        let mut held = Vec::new();
        let mut waiting = Vec::new();
        for client in 0..3 {
            let asked = ask(&questions, asker(client, false), 20).await;
            sleep(Duration::from_millis(5)).await;
            for one in asked {
                if one.is_finished() {
                    held.extend(one.await.unwrap());
                } else {
                    waiting.push(one);
                }
            }
        }
        assert_eq!(held.len(), limits::PUBLISH_CHECKS_OF_A_KIND_MAX);
        let honest = ask(&questions, asker(9, false), 1).await;
        held.pop();
        sleep(Duration::from_millis(5)).await;
        assert_eq!(places(honest).await.len(), 1);
    }

    #[tokio::test]
    async fn live_ids_come_first_and_leave_places_for_others() {
        let questions = Arc::new(Questions::default());
        for is_live in [false, true] {
            let mut held = Vec::new();
            for client in 0..100 {
                held.extend(places(ask(&questions, asker(client, is_live), 1).await).await);
            }
            assert_eq!(held.len(), limits::PUBLISH_CHECKS_OF_A_KIND_MAX);
            let other = places(ask(&questions, asker(200, !is_live), 1).await).await;
            assert_eq!(other.len(), 1, "live: {is_live}");
        }
    }

    #[tokio::test]
    async fn what_is_taken_back_leaves_nothing_behind() {
        let questions = Arc::new(Questions::default());
        for one in ask(&questions, asker(1, false), 40).await {
            one.abort();
            drop(one.await);
        }
        let state = questions.lock();
        assert!(state.waiting.is_empty() && state.of_client.is_empty());
        assert_eq!((state.of_live, state.of_others), (0, 0));
    }
}
