//! Names to addresses, with the system's resolver, which blocks.
//!
//! A name is looked up once at a time, however many destinations ask for it, so that a name whose
//! server does not answer holds one thread and not all of them.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    time::Instant,
};

use shardcast_core::io::LookupId;

use super::{BlockingJobs, JobLimits};
use crate::{
    completions::Notifier,
    limits::{LOOKUP_ADDRESSES_MAX, LOOKUP_AGE_MAX, LOOKUPS_ASKED_MAX, LOOKUPS_RUNNING_MAX},
};

/// Addresses in the order of preference, or why there are none.
pub(crate) type Answer = Result<Vec<SocketAddr>, String>;

/// Addresses of a name; each asker adds its port.
type Found = Result<Vec<IpAddr>, String>;

/// One look-up of the shard.
struct Asker {
    lookup: LookupId,
    port: u16,
    asked: Instant,
}

/// The look-ups of a shard.
pub(crate) struct Lookups {
    /// Who wants to know each name that is waiting or running.
    askers: HashMap<String, Vec<Asker>>,
    /// All askers together; at most [`LOOKUPS_ASKED_MAX`].
    asked: usize,
    /// One job for each name in `askers`.
    jobs: BlockingJobs<String, Vec<IpAddr>>,
    answers: VecDeque<(LookupId, Answer)>,
}

impl Lookups {
    pub(crate) fn new(notifier: Notifier) -> Self {
        let limits = JobLimits {
            running_max: LOOKUPS_RUNNING_MAX,
            // Each name that waits has an asker.
            waiting_max: LOOKUPS_ASKED_MAX,
        };
        Self {
            askers: HashMap::new(),
            asked: 0,
            jobs: BlockingJobs::new(limits, notifier),
            answers: VecDeque::new(),
        }
    }

    /// Asks for a name. An address in place of a name is answered at once; see
    /// [`Self::completion`].
    pub(crate) fn ask(&mut self, now: Instant, lookup: LookupId, host: String, port: u16) {
        self.enqueue(now, lookup, host, port);
        self.start(now);
    }

    /// The next answer for the shard.
    pub(crate) fn completion(&mut self, now: Instant) -> Option<(LookupId, Answer)> {
        while self.answers.is_empty() {
            let (host, found) = self.jobs.completion()?;
            self.finish(&host, &found);
            self.start(now);
        }
        self.answers.pop_front()
    }

    fn enqueue(&mut self, now: Instant, lookup: LookupId, mut host: String, port: u16) {
        if let Some(ip) = literal(&host) {
            let found = Ok(vec![SocketAddr::new(ip, port)]);
            self.answers.push_back((lookup, found));
            return;
        }
        if self.asked >= LOOKUPS_ASKED_MAX {
            let reason = format!(
                "{LOOKUPS_ASKED_MAX} names wait to be looked up already: is the DNS server of \
                 this machine down?"
            );
            self.answers.push_back((lookup, Err(reason)));
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
            return;
        }
        let name = host.clone();
        let enqueued = self.jobs.enqueue(now, host.clone(), move || look_up(&name));
        debug_assert!(enqueued, "more names wait than there are askers");
        self.askers.insert(host, vec![asker]);
    }

    /// Starts the names that have their turn. Those that all askers have given up meanwhile are
    /// passed over: they are the slow ones, and would stay ahead of the others.
    fn start(&mut self, now: Instant) {
        let (askers, asked, answers) = (&mut self.askers, &mut self.asked, &mut self.answers);
        self.jobs
            .start(|host, _| is_wanted(now, host, askers, asked, answers));
    }

    /// A running look-up has ended: answers all who asked, those included that came while it ran.
    fn finish(&mut self, host: &str, found: &Found) {
        for Asker { lookup, port, .. } in self.askers.remove(host).unwrap_or_default() {
            self.asked -= 1;
            let answer = match found {
                Ok(ips) => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
                Err(reason) => Err(reason.clone()),
            };
            self.answers.push_back((lookup, answer));
        }
    }
}

/// Whether a name still has an asker that is not older than [`LOOKUP_AGE_MAX`]; the older ones are
/// refused.
fn is_wanted(
    now: Instant,
    host: &str,
    all: &mut HashMap<String, Vec<Asker>>,
    asked: &mut usize,
    answers: &mut VecDeque<(LookupId, Answer)>,
) -> bool {
    let Some(askers) = all.get_mut(host) else {
        return false;
    };
    let old = |asker: &mut Asker| now.duration_since(asker.asked) > LOOKUP_AGE_MAX;
    for Asker { lookup, .. } in askers.extract_if(.., old) {
        *asked -= 1;
        let reason = format!(
            "the name {host} was not looked up within {} s: other names are slow, or no DNS \
             server answers",
            LOOKUP_AGE_MAX.as_secs()
        );
        answers.push_back((lookup, Err(reason)));
    }
    let wanted = !askers.is_empty();
    if !wanted {
        all.remove(host);
    }
    wanted
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
        .map_err(|error| reason(host, &error))?
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

fn reason(host: &str, error: &io::Error) -> String {
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
    fn answers(lookups: &mut Lookups) -> Vec<(u64, Answer)> {
        std::iter::from_fn(|| lookups.answers.pop_front())
            .map(|(lookup, answer)| (lookup.number(), answer))
            .collect()
    }

    /// The next name to look up, which counts as running from now on.
    fn next(lookups: &mut Lookups, now: Instant) -> Option<String> {
        let (askers, asked) = (&mut lookups.askers, &mut lookups.asked);
        let answers = &mut lookups.answers;
        lookups
            .jobs
            .begin_next(|host, _| is_wanted(now, host, askers, asked, answers))
    }

    /// A running look-up ends.
    fn finish(lookups: &mut Lookups, host: &str, found: Found) {
        lookups.jobs.end(host.to_owned(), found);
        let (host, found) = lookups.jobs.completion().unwrap();
        lookups.finish(&host, &found);
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
    fn a_name_that_cannot_be_looked_up_is_in_the_reason() {
        let error = look_up("does-not-exist.invalid").unwrap_err();
        assert!(error.contains("does-not-exist.invalid"), "{error}");
    }

    #[test]
    fn all_who_ask_for_a_name_share_one_look_up_and_keep_their_ports() {
        let mut lookups = Lookups::new(Notifier::default());
        let now = Instant::now();
        lookups.enqueue(now, LookupId::numbered(1), "live.example".into(), 1_935);
        assert_eq!(next(&mut lookups, now).as_deref(), Some("live.example"));
        lookups.enqueue(now, LookupId::numbered(2), "Live.Example".into(), 443);
        assert_eq!(next(&mut lookups, now), None);

        let ip = IpAddr::from([192, 0, 2, 1]);
        finish(&mut lookups, "live.example", Ok(vec![ip]));
        let answered = [
            (1, Ok(vec![SocketAddr::new(ip, 1_935)])),
            (2, Ok(vec![SocketAddr::new(ip, 443)])),
        ];
        assert_eq!(answers(&mut lookups), answered);
        lookups.enqueue(now, LookupId::numbered(3), "live.example".into(), 1_935);
        assert_eq!(next(&mut lookups, now).as_deref(), Some("live.example"));
    }

    #[test]
    fn a_name_that_is_asked_for_again_and_again_holds_one_thread() {
        let mut lookups = Lookups::new(Notifier::default());
        let now = Instant::now();
        for id in 0..1_000 {
            lookups.enqueue(now, LookupId::numbered(id), "slow.example".into(), 1_935);
        }
        lookups.enqueue(now, LookupId::numbered(1_000), "live.example".into(), 1_935);
        assert_eq!(next(&mut lookups, now).as_deref(), Some("slow.example"));
        assert_eq!(next(&mut lookups, now).as_deref(), Some("live.example"));
        assert_eq!(next(&mut lookups, now), None);
    }

    #[test]
    fn a_name_that_all_askers_have_given_up_is_skipped() {
        let mut lookups = Lookups::new(Notifier::default());
        let start = Instant::now();
        for id in 0..LOOKUPS_RUNNING_MAX as u64 {
            lookups.enqueue(
                start,
                LookupId::numbered(id),
                format!("slow-{id}.example"),
                1_935,
            );
            assert!(next(&mut lookups, start).is_some());
        }
        lookups.enqueue(
            start,
            LookupId::numbered(100),
            "given-up.example".into(),
            1_935,
        );
        lookups.enqueue(
            start,
            LookupId::numbered(101),
            "asked-again.example".into(),
            1_935,
        );
        let later = start + LOOKUP_AGE_MAX + Duration::from_millis(1);
        lookups.enqueue(
            later,
            LookupId::numbered(102),
            "asked-again.example".into(),
            1_935,
        );
        assert_eq!(next(&mut lookups, later), None);

        finish(&mut lookups, "slow-0.example", Err("no".into()));
        assert_eq!(
            next(&mut lookups, later).as_deref(),
            Some("asked-again.example")
        );
        let answered = answers(&mut lookups);
        let ids: Vec<u64> = answered.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [0, 100, 101]);
        assert!(answered.iter().all(|(_, answer)| answer.is_err()));
        finish(&mut lookups, "asked-again.example", Err("no".into()));
        assert!(matches!(answers(&mut lookups).as_slice(), [(102, Err(_))]));
    }

    #[test]
    fn a_question_too_many_is_refused_with_a_reason_and_later_ones_are_taken() {
        let mut lookups = Lookups::new(Notifier::default());
        let now = Instant::now();
        for id in 0..=LOOKUPS_ASKED_MAX as u64 {
            lookups.enqueue(now, LookupId::numbered(id), "slow.example".into(), 1_935);
        }
        let answered = answers(&mut lookups);
        assert!(matches!(answered.as_slice(), [(_, Err(reason))] if reason.contains("DNS")));
        assert!(next(&mut lookups, now).is_some());
        finish(&mut lookups, "slow.example", Err("no".into()));
        assert_eq!(answers(&mut lookups).len(), LOOKUPS_ASKED_MAX);
        lookups.enqueue(now, LookupId::numbered(9_999), "live.example".into(), 1_935);
        assert!(next(&mut lookups, now).is_some() && answers(&mut lookups).is_empty());
    }
}
