//! Names to addresses, with the system's resolver, on threads of its own: it blocks.
//!
//! A name is looked up once at a time, whoever and however many ask for it, so that a name whose
//! server does not answer holds one thread and not all of them.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use futures_lite::{FutureExt, future::yield_now};
use shardcast_core::io::LookupId;

use crate::{
    limits::{LOOKUP_ADDRESSES_MAX, LOOKUP_AGE_MAX, LOOKUPS_ASKED_MAX, LOOKUPS_RUNNING_MAX},
    shell::ShellHandle,
};

/// Addresses in the order of preference, or why there are none.
pub(crate) type Answer = Result<Vec<SocketAddr>, String>;

/// What a name stands for; the port is the asker's.
type Found = Result<Vec<IpAddr>, String>;

struct Asker {
    lookup: LookupId,
    port: u16,
    asked: Instant,
}

/// The look-ups of a shard.
#[derive(Default)]
pub(crate) struct Resolver {
    /// Who wants to know each name that is waiting or running.
    askers: HashMap<String, Vec<Asker>>,
    /// All askers together.
    asked: usize,
    /// Names that wait for a thread, each once.
    waiting: VecDeque<String>,
    running: usize,
    answers: VecDeque<(LookupId, Answer)>,
}

impl Resolver {
    /// Asks for a name. What can be said without asking anybody is said at once; see
    /// [`Self::answer`].
    pub(crate) fn ask(&mut self, handle: &ShellHandle, lookup: LookupId, host: String, port: u16) {
        let now = Instant::now();
        self.enter(now, lookup, host, port);
        self.start(now, handle);
    }

    /// The next answer that the shard has not been told.
    pub(crate) fn answer(&mut self) -> Option<(LookupId, Answer)> {
        self.answers.pop_front()
    }

    fn enter(&mut self, now: Instant, lookup: LookupId, mut host: String, port: u16) {
        if let Some(ip) = literal(&host) {
            let found = Ok(vec![SocketAddr::new(ip, port)]);
            self.answers.push_back((lookup, found));
            return;
        }
        if self.asked >= LOOKUPS_ASKED_MAX {
            let words = format!(
                "{LOOKUPS_ASKED_MAX} names wait to be looked up already: is the DNS server of \
                 this machine down?"
            );
            self.answers.push_back((lookup, Err(words)));
            return;
        }
        host.make_ascii_lowercase();
        let asker = Asker {
            lookup,
            port,
            asked: now,
        };
        self.asked += 1;
        if let Some(askers) = self.askers.get_mut(&host) {
            askers.push(asker);
        } else {
            self.waiting.push_back(host.clone());
            self.askers.insert(host, vec![asker]);
        }
    }

    fn start(&mut self, now: Instant, handle: &ShellHandle) {
        while let Some(host) = self.next(now) {
            glommio::spawn_local(run(handle.clone(), host)).detach();
        }
    }

    /// The next name to look up, if there is a thread for it. Names that everybody has given up
    /// meanwhile are passed over: they are the ones that are slow, and would stay ahead of those
    /// that are not.
    fn next(&mut self, now: Instant) -> Option<String> {
        while self.running < LOOKUPS_RUNNING_MAX {
            let host = self.waiting.pop_front()?;
            let Some(askers) = self.askers.get_mut(&host) else {
                continue;
            };
            let old = |asker: &mut Asker| now.duration_since(asker.asked) > LOOKUP_AGE_MAX;
            for Asker { lookup, .. } in askers.extract_if(.., old) {
                self.asked -= 1;
                let words = format!(
                    "the name {host} was not looked up within {} s: other names are slow, or no \
                     DNS server answers",
                    LOOKUP_AGE_MAX.as_secs()
                );
                self.answers.push_back((lookup, Err(words)));
            }
            if askers.is_empty() {
                self.askers.remove(&host);
            } else {
                self.running += 1;
                return Some(host);
            }
        }
        None
    }

    /// A running look-up has ended: tells all who asked, those included that came while it ran.
    fn finish(&mut self, host: &str, found: &Found) {
        self.running -= 1;
        for Asker { lookup, port, .. } in self.askers.remove(host).unwrap_or_default() {
            self.asked -= 1;
            let answer = match found {
                Ok(ips) => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
                Err(words) => Err(words.clone()),
            };
            self.answers.push_back((lookup, answer));
        }
    }
}

async fn run(handle: ShellHandle, host: String) {
    // glommio runs a new task at once, while the shell is still borrowed by whoever asked.
    yield_now().await;
    let work = {
        let host = host.clone();
        move || panic::catch_unwind(|| look_up(&host))
    };
    let found = AssertUnwindSafe(glommio::executor().spawn_blocking(work))
        .catch_unwind()
        .await
        .and_then(|found| found)
        .unwrap_or_else(|_| Err("a defect of this server; its log has the details".into()));
    handle.with(|shell| {
        let now = Instant::now();
        shell.resolver.finish(&host, &found);
        shell.resolver.start(now, &handle);
        shell.drive(now);
    });
}

/// An address written as one, an IPv6 address also in the brackets of a URL.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}

/// `getaddrinfo` sorts by RFC 6724, so the first is the one to try first.
fn look_up(host: &str) -> Found {
    let mut ips = Vec::new();
    for address in (host, 0)
        .to_socket_addrs()
        .map_err(|error| words(host, &error))?
    {
        if ips.len() < LOOKUP_ADDRESSES_MAX && !ips.contains(&address.ip()) {
            ips.push(address.ip());
        }
    }
    if ips.is_empty() {
        return Err(format!("the name {host} has no address"));
    }
    Ok(ips)
}

fn words(host: &str, error: &io::Error) -> String {
    let text = error.to_string();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    match text {
        "Name or service not known" | "No address associated with hostname" => {
            format!("the name {host} does not exist")
        }
        "Temporary failure in name resolution" => {
            format!("the name {host} cannot be looked up: no DNS server answers")
        }
        other => format!("the name {host} cannot be looked up: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Tells the answers so far, and who they are for.
    fn answers(resolver: &mut Resolver) -> Vec<(u64, Answer)> {
        std::iter::from_fn(|| resolver.answer())
            .map(|(LookupId(id), answer)| (id, answer))
            .collect()
    }

    #[test]
    fn addresses_are_taken_as_they_are() {
        assert_eq!(literal("192.0.2.1"), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(literal("[2001:db8::1]"), "2001:db8::1".parse().ok());
        assert_eq!(literal("2001:db8::1"), "2001:db8::1".parse().ok());
        assert_eq!(literal("localhost"), None);
        assert_eq!(literal("[localhost]"), None);
    }

    #[test]
    fn the_name_of_this_machine_has_an_address() {
        let ips = look_up("localhost").unwrap();
        assert!(ips.iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn a_name_that_cannot_be_looked_up_is_named_in_the_words() {
        let error = look_up("does-not-exist.invalid").unwrap_err();
        assert!(error.contains("does-not-exist.invalid"), "{error}");
    }

    #[test]
    fn all_who_ask_for_a_name_share_one_look_up_and_keep_their_ports() {
        let mut resolver = Resolver::default();
        let now = Instant::now();
        resolver.enter(now, LookupId(1), "live.example".into(), 1_935);
        assert_eq!(resolver.next(now).as_deref(), Some("live.example"));
        resolver.enter(now, LookupId(2), "Live.Example".into(), 443);
        assert_eq!(resolver.next(now), None);

        let ip = IpAddr::from([192, 0, 2, 1]);
        resolver.finish("live.example", &Ok(vec![ip]));
        let told = [
            (1, Ok(vec![SocketAddr::new(ip, 1_935)])),
            (2, Ok(vec![SocketAddr::new(ip, 443)])),
        ];
        assert_eq!(answers(&mut resolver), told);
        resolver.enter(now, LookupId(3), "live.example".into(), 1_935);
        assert_eq!(resolver.next(now).as_deref(), Some("live.example"));
    }

    #[test]
    fn a_name_that_is_asked_for_again_and_again_holds_one_thread() {
        let mut resolver = Resolver::default();
        let now = Instant::now();
        for id in 0..1_000 {
            resolver.enter(now, LookupId(id), "slow.example".into(), 1_935);
        }
        resolver.enter(now, LookupId(1_000), "live.example".into(), 1_935);
        assert_eq!(resolver.next(now).as_deref(), Some("slow.example"));
        assert_eq!(resolver.next(now).as_deref(), Some("live.example"));
        assert_eq!(resolver.next(now), None);
    }

    #[test]
    fn a_name_that_waited_until_nobody_wants_it_is_passed_over() {
        let mut resolver = Resolver::default();
        let start = Instant::now();
        for id in 0..LOOKUPS_RUNNING_MAX as u64 {
            resolver.enter(start, LookupId(id), format!("slow-{id}.example"), 1_935);
            assert!(resolver.next(start).is_some());
        }
        resolver.enter(start, LookupId(100), "given-up.example".into(), 1_935);
        resolver.enter(start, LookupId(101), "asked-again.example".into(), 1_935);
        let later = start + LOOKUP_AGE_MAX + Duration::from_millis(1);
        resolver.enter(later, LookupId(102), "asked-again.example".into(), 1_935);
        assert_eq!(resolver.next(later), None);

        resolver.finish("slow-0.example", &Err("no".into()));
        assert_eq!(resolver.next(later).as_deref(), Some("asked-again.example"));
        let told = answers(&mut resolver);
        let ids: Vec<u64> = told.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [0, 100, 101]);
        assert!(told.iter().all(|(_, answer)| answer.is_err()));
        resolver.finish("asked-again.example", &Err("no".into()));
        assert!(matches!(answers(&mut resolver).as_slice(), [(102, Err(_))]));
    }

    #[test]
    fn a_question_too_many_is_refused_in_words_and_room_comes_back() {
        let mut resolver = Resolver::default();
        let now = Instant::now();
        for id in 0..=LOOKUPS_ASKED_MAX as u64 {
            resolver.enter(now, LookupId(id), "slow.example".into(), 1_935);
        }
        let told = answers(&mut resolver);
        assert!(matches!(told.as_slice(), [(_, Err(words))] if words.contains("DNS")));
        assert!(resolver.next(now).is_some());
        resolver.finish("slow.example", &Err("no".into()));
        assert_eq!(answers(&mut resolver).len(), LOOKUPS_ASKED_MAX);
        resolver.enter(now, LookupId(9_999), "live.example".into(), 1_935);
        assert!(resolver.next(now).is_some() && answers(&mut resolver).is_empty());
    }
}
