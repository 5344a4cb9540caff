//! Names to addresses, with the system's resolver, on threads of its own: it blocks.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    panic,
    time::Instant,
};

use futures_lite::future::yield_now;
use shardcast_core::io::{Input, LookupId};

use crate::{
    limits::{LOOKUP_ADDRESSES_MAX, LOOKUPS_RUNNING_MAX, LOOKUPS_WAITING_MAX},
    shell::ShellHandle,
};

/// Addresses in the order of preference, or why there are none.
pub(crate) type Answer = Result<Vec<SocketAddr>, String>;

struct Question {
    lookup: LookupId,
    host: String,
    port: u16,
}

/// The look-ups of a shard.
#[derive(Default)]
pub(crate) struct Resolver {
    running: usize,
    waiting: VecDeque<Question>,
}

impl Resolver {
    /// Asks for a name. What can be said without asking anybody is said at once.
    pub(crate) fn ask(
        &mut self,
        handle: &ShellHandle,
        lookup: LookupId,
        host: String,
        port: u16,
    ) -> Option<Answer> {
        if let Some(ip) = literal(&host) {
            return Some(Ok(vec![SocketAddr::new(ip, port)]));
        }
        if self.waiting.len() >= LOOKUPS_WAITING_MAX {
            return Some(Err(format!(
                "{LOOKUPS_WAITING_MAX} names wait to be looked up already: is the DNS server of \
                 this machine down?"
            )));
        }
        self.waiting.push_back(Question { lookup, host, port });
        self.start(handle);
        None
    }

    fn start(&mut self, handle: &ShellHandle) {
        while self.running < LOOKUPS_RUNNING_MAX
            && let Some(question) = self.waiting.pop_front()
        {
            self.running += 1;
            glommio::spawn_local(run(handle.clone(), question)).detach();
        }
    }
}

async fn run(handle: ShellHandle, question: Question) {
    // glommio runs a new task at once, while the shell is still borrowed by whoever asked.
    yield_now().await;
    let Question { lookup, host, port } = question;
    let work = move || panic::catch_unwind(|| look_up(&host, port));
    let result = glommio::executor()
        .spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err("a defect of this server; its log has the details".into()));
    handle.with(|shell| {
        shell.resolver.running -= 1;
        shell.resolver.start(&handle);
        let now = Instant::now();
        shell.feed(now, Input::Resolved { lookup, result });
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
fn look_up(host: &str, port: u16) -> Answer {
    let mut addresses = Vec::new();
    for address in (host, port)
        .to_socket_addrs()
        .map_err(|error| words(host, &error))?
    {
        if addresses.len() < LOOKUP_ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(format!("the name {host} has no address"));
    }
    Ok(addresses)
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
    use super::*;

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
        let addresses = look_up("localhost", 1_935).unwrap();
        assert!(
            addresses
                .iter()
                .all(|a| a.ip().is_loopback() && a.port() == 1_935)
        );
    }

    #[test]
    fn a_name_that_cannot_be_looked_up_is_named_in_the_words() {
        let error = look_up("does-not-exist.invalid", 1_935).unwrap_err();
        assert!(error.contains("does-not-exist.invalid"), "{error}");
    }
}
