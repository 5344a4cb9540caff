//! Whether the rules of nftables on this machine let publishers in. iptables of today writes the same
//! rules. What stands before the machine, such as a provider's firewall, is not seen from here.

use serde_json::Value;

use super::super::{
    host::{Firewall, Host},
    report::{Finding, Topic},
};

const FIREWALL: Topic = Topic("firewall", "Firewall");

/// A port that others are to reach.
struct Door {
    protocol: &'static str,
    first: u16,
    last: u16,
}

impl Door {
    /// As rules name it.
    fn range(&self, between: char) -> String {
        match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}{between}{}", self.first, self.last),
        }
    }
}

/// A chain that drops what no rule accepts.
struct Strict<'a> {
    family: &'a str,
    table: &'a str,
    chain: &'a str,
}

/// Whether each port is named by a rule that accepts.
pub(super) fn firewall(host: &Host) -> Finding {
    let rules = match &host.firewall {
        Firewall::NoTool => {
            return FIREWALL.unknown("nft is not installed, so the rules cannot be read");
        }
        Firewall::Unreadable(problem) => {
            return FIREWALL
                .unknown(format!("the rules cannot be read: {problem}"))
                .mend("shardcast doctor as root");
        }
        Firewall::Rules(rules) => rules,
    };
    let items = rules.get("nftables").and_then(Value::as_array);
    let items = items.map(Vec::as_slice).unwrap_or_default();
    let is_v4_only = host.reach.bind.is_some_and(|bind| bind.is_ipv4());
    let strict = items.iter().filter_map(strict_chain);
    let strict: Vec<Strict<'_>> = strict
        .filter(|strict| !(is_v4_only && strict.family == "ip6"))
        .collect();
    if strict.is_empty() {
        return FIREWALL.ok("no rule of this machine drops what is not named");
    }
    // A packet must get through each of them, and IPv6 has rules of its own in the family ip6.
    let mut shut = strict
        .iter()
        .map(|strict| (strict, shut_doors(host, items, strict)));
    let Some((strict, shut)) = shut.find(|(_, shut)| !shut.is_empty()) else {
        return FIREWALL.ok("the rules of this machine accept all ports");
    };
    let closed: Vec<String> = shut
        .iter()
        .map(|door| format!("{} {}", door.protocol, door.range('-')))
        .collect();
    let Strict {
        family,
        table,
        chain,
    } = strict;
    FIREWALL
        .warning(format!(
            "the chain {chain} of the table {family} {table} drops what no rule accepts, and none names {}",
            closed.join(", ")
        ))
        .costs("publishers do not reach these ports, unless a rule without ports lets them in")
        .mend(open(strict, &shut, items.iter().any(is_of_ufw)))
}

/// The ports that no rule of the chain's table accepts.
fn shut_doors(host: &Host, items: &[Value], strict: &Strict<'_>) -> Vec<Door> {
    doors(host)
        .into_iter()
        .filter(|door| !items.iter().any(|item| accepts(item, items, strict, door)))
        .collect()
}

fn is_of_ufw(item: &Value) -> bool {
    let chain = item.pointer("/chain/name").and_then(Value::as_str);
    chain.is_some_and(|chain| chain.starts_with("ufw"))
}

/// The command that lets the shut doors' packets in.
fn open(strict: &Strict<'_>, shut: &[Door], is_ufw: bool) -> String {
    let Strict {
        family,
        table,
        chain,
    } = strict;
    if *table == "firewalld" {
        let ports = shut
            .iter()
            .map(|door| format!("--add-port={}/{}", door.range('-'), door.protocol));
        let ports = ports.collect::<Vec<_>>().join(" ");
        return format!("firewall-cmd --permanent {ports} && firewall-cmd --reload");
    }
    let of_ufw = shut
        .iter()
        .map(|door| format!("ufw allow {}/{}", door.range(':'), door.protocol));
    if is_ufw {
        return of_ufw.collect::<Vec<_>>().join(" && ");
    }
    let of_nft = shut.iter().map(|door| {
        format!(
            "nft add rule {family} {table} {chain} {} dport {} accept",
            door.protocol,
            door.range('-')
        )
    });
    of_nft.collect::<Vec<_>>().join(" && ")
}

fn doors(host: &Host) -> Vec<Door> {
    let ports = &host.ports;
    let tcp = [&ports.http, &ports.https, &ports.rtmp, &ports.rtmps];
    let tcp = tcp.into_iter().flatten().map(|port| Door {
        protocol: "tcp",
        first: port.number,
        last: port.number,
    });
    let media = |protocol| match (ports.udp.first(), ports.udp.last()) {
        (Some(first), Some(last)) => Some(Door {
            protocol,
            first: first.number,
            last: last.number,
        }),
        _ => None,
    };
    let over_tcp = ports.tcp_candidates.then(|| media("tcp")).flatten();
    tcp.chain(media("udp")).chain(over_tcp).collect()
}

/// A base chain at the hook of input whose policy is drop.
fn strict_chain(item: &Value) -> Option<Strict<'_>> {
    let chain = item.get("chain")?;
    let word = |name: &str| chain.get(name)?.as_str();
    (word("hook") == Some("input") && word("policy") == Some("drop")).then_some(())?;
    Some(Strict {
        family: word("family")?,
        table: word("table")?,
        chain: word("name")?,
    })
}

/// Whether the rule is in the strict chain's table, names the whole door and accepts or goes on to a
/// chain that may.
fn accepts(item: &Value, items: &[Value], strict: &Strict<'_>, door: &Door) -> bool {
    let Some(rule) = item.get("rule") else {
        return false;
    };
    let is_there = rule.get("table").and_then(Value::as_str) == Some(strict.table)
        && rule.get("family").and_then(Value::as_str) == Some(strict.family);
    let parts = rule.get("expr").and_then(Value::as_array);
    let parts = parts.map(Vec::as_slice).unwrap_or_default();
    let lets_in = parts.iter().any(|part| {
        ["accept", "jump", "goto"]
            .iter()
            .any(|word| part.get(word).is_some())
    });
    let names = parts.iter().any(|part| names(part, items, door));
    is_there && lets_in && names
}

/// Whether the part matches the destination port and its right side holds the door.
fn names(part: &Value, items: &[Value], door: &Door) -> bool {
    let Some(matched) = part.get("match") else {
        return false;
    };
    let payload = matched.pointer("/left/payload");
    let word = |name: &str| payload.and_then(|payload| payload.get(name)?.as_str());
    let is_protocol = word("protocol").is_some_and(|one| one == door.protocol || one == "th");
    let is_equal = matched
        .get("op")
        .and_then(Value::as_str)
        .is_none_or(|op| op == "==" || op == "in");
    let right = matched.get("right");
    is_protocol
        && is_equal
        && word("field") == Some("dport")
        && right.is_some_and(|right| holds(right, items, door))
}

/// A port, a range, a set written out, or the name of one behind an @.
fn holds(right: &Value, items: &[Value], door: &Door) -> bool {
    if let Some(port) = right.as_u64() {
        return port == u64::from(door.first) && door.first == door.last;
    }
    if let Some([first, last]) = right
        .get("range")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        let within = |port: u16| {
            let bounds = (first.as_u64(), last.as_u64());
            matches!(bounds, (Some(first), Some(last)) if (first..=last).contains(&u64::from(port)))
        };
        return within(door.first) && within(door.last);
    }
    let elements = match right.as_str().and_then(|name| name.strip_prefix('@')) {
        Some(name) => items.iter().find_map(|item| {
            let set = item.get("set")?;
            (set.get("name")?.as_str()? == name).then_some(())?;
            set.get("elem")?.as_array()
        }),
        None => right.get("set").and_then(Value::as_array),
    };
    let elements = elements.map(Vec::as_slice).unwrap_or_default();
    // A set lists the ports of a door one by one, too.
    elements.iter().any(|element| holds(element, items, door))
        || (door.first < door.last
            && (door.first..=door.last).all(|port| {
                let one = Door {
                    protocol: door.protocol,
                    first: port,
                    last: port,
                };
                elements.iter().any(|element| holds(element, items, &one))
            }))
}
