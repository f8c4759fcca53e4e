//! What `nft -j list ruleset` prints (libnftables-json(5)), and what it does to a packet, as far as that can be told.

use ipnetwork::IpNetwork;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Tables of ours.
const OURS: &str = "offramp";
/// A chain that calls itself is none that the kernel takes; 16 is its own bound.
const DEPTH: u8 = 16;

/// A link that packets pass.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its group.
    pub group: u32,
}

/// A packet of which it is asked what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Source.
    pub from: IpAddr,
    /// Destination.
    pub to: IpAddr,
    /// The link it came in by.
    pub into: Port<'a>,
    /// The link it leaves by; none: it is for the node itself.
    pub out: Option<Port<'a>>,
    /// It belongs to a connection that is there.
    pub answer: bool,
    /// The UDP port it goes to; none: any protocol.
    pub port: Option<u16>,
}

/// A chain that begins at a hook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName {
    /// `ip`, `ip6`, `inet`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// It is of iptables-legacy.
    pub legacy: bool,
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.legacy { " (iptables-legacy)" } else { "" };
        write!(f, "chain {} of table {} {}{by}", self.chain, self.family, self.table)
    }
}

/// What a chain does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It lets the packet pass.
    Accept,
    /// It drops it; by what.
    Drop(String),
    /// It drops it unless a rule lets it pass that is not understood.
    Unclear(String),
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Is {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

impl Is {
    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Of which chain a rule is: family, table and name.
type Place<'a> = [&'a str; 3];

/// All tables.
pub struct Ruleset<'a> {
    objects: Vec<(&'a str, &'a Value)>,
    rules: BTreeMap<Place<'a>, Vec<&'a Value>>,
    legacy: bool,
}

/// How a chain ends for a packet, if it does not return.
enum End {
    Accept,
    Drop(String),
}

impl<'a> Ruleset<'a> {
    /// What is no listing is empty.
    pub fn read(json: &'a Value) -> Self {
        let all = json["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
        let object = |value: &'a Value| {
            let (kind, object) = value.as_object()?.iter().next()?;
            Some((kind.as_str(), object))
        };
        let objects: Vec<(&str, &Value)> = all.iter().filter_map(object).collect();
        let mut rules: BTreeMap<Place<'_>, Vec<&Value>> = BTreeMap::new();
        for (_, rule) in objects.iter().filter(|(kind, _)| *kind == "rule") {
            rules.entry(["family", "table", "chain"].map(|key| text(rule, key))).or_default().push(rule);
        }
        Self { objects, rules, legacy: false }
    }

    /// The tables of iptables-legacy, listed likewise.
    pub fn read_legacy(json: &'a Value) -> Self {
        Self { legacy: true, ..Self::read(json) }
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |(k, _)| *k == kind).map(|(_, object)| *object)
    }

    /// Tables that look like those that iptables-nft makes: with a chain at a hook, whose name is in capitals.
    pub fn iptables_tables(&self) -> Vec<String> {
        let made = |chain: &&Value| {
            let name = text(chain, "name");
            matches!(text(chain, "family"), "ip" | "ip6")
                && chain["hook"].is_string()
                && matches!(name, "INPUT" | "FORWARD" | "OUTPUT" | "PREROUTING" | "POSTROUTING")
        };
        let mut tables: Vec<String> = self
            .of_kind("chain")
            .filter(made)
            .map(|chain| format!("{} {}", text(chain, "family"), text(chain, "table")))
            .collect();
        tables.dedup();
        tables
    }

    /// What each filter chain of others at these hooks does with a packet.
    pub fn judge(&self, hooks: &[&str], packet: &Packet<'_>) -> Vec<(ChainName, Verdict)> {
        let own = if packet.from.is_ipv4() { "ip" } else { "ip6" };
        let meant = |chain: &&Value| {
            let family = text(chain, "family");
            (family == own || family == "inet")
                && text(chain, "table") != OURS
                && text(chain, "type") == "filter"
                && hooks.contains(&text(chain, "hook"))
        };
        let judged = self.of_kind("chain").filter(meant).map(|chain| {
            let name = ChainName {
                family: text(chain, "family").into(),
                table: text(chain, "table").into(),
                chain: text(chain, "name").into(),
                legacy: self.legacy,
            };
            let verdict =
                Walk { ruleset: self, base: &name, packet, doubt: None }.verdict(text(chain, "policy"));
            (name, verdict)
        });
        judged.collect()
    }

    fn rules<'b>(&'b self, base: &'b ChainName, chain: &'b str) -> &'b [&'a Value] {
        self.rules.get(&[base.family.as_str(), &base.table, chain]).map_or(&[], Vec::as_slice)
    }

    /// The elements of a named set; none if they are not known, or change by themselves.
    fn set(&self, base: &ChainName, name: &str) -> Option<&'a Vec<Value>> {
        let is = |set: &&Value| {
            text(set, "family") == base.family
                && text(set, "table") == base.table
                && text(set, "name") == name
        };
        self.of_kind("set").find(is)?["elem"].as_array()
    }
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// A packet's way through a chain.
struct Walk<'a> {
    ruleset: &'a Ruleset<'a>,
    base: &'a ChainName,
    packet: &'a Packet<'a>,
    /// A rule that may have let the packet pass.
    doubt: Option<String>,
}

impl Walk<'_> {
    fn verdict(mut self, policy: &str) -> Verdict {
        let base = self.base.chain.clone();
        let why = match self.chain(&base, DEPTH) {
            Some(End::Accept) => return Verdict::Accept,
            Some(End::Drop(why)) => why,
            None if policy == "drop" => "its policy is drop, and no rule accepts it".to_owned(),
            None => return Verdict::Accept,
        };
        match self.doubt {
            Some(rule) => Verdict::Unclear(format!("{why}, unless this does: {rule}")),
            None => Verdict::Drop(why),
        }
    }

    /// None: the packet returns to whoever called the chain.
    fn chain(&mut self, chain: &str, depth: u8) -> Option<End> {
        let depth = depth.checked_sub(1)?;
        for rule in self.ruleset.rules(self.base, chain) {
            match self.rule(rule, depth) {
                Next::Rule => {}
                Next::Return => return None,
                Next::End(end) => return Some(end),
            }
        }
        None
    }

    fn rule(&mut self, rule: &Value, depth: u8) -> Next {
        let mut fits = Is::Yes;
        for statement in rule["expr"].as_array().into_iter().flatten() {
            let Some((name, value)) = statement.as_object().and_then(|s| s.iter().next()) else { continue };
            match name.as_str() {
                "match" => match self.matches(value) {
                    Is::No => return Next::Rule,
                    Is::Unknown => fits = Is::Unknown,
                    Is::Yes => {}
                },
                "accept" | "drop" | "reject" | "return" | "jump" | "goto" => {
                    return self.act(name, value, rule, fits, depth);
                }
                // They change nothing about where the packet goes.
                "counter" | "log" | "mangle" | "notrack" | "comment" | "ct helper" | "ct timeout" | "set"
                | "flow" => {}
                // iptables-nft cannot say it otherwise.
                "xt" if value["type"] == "target" && value["name"] == "REJECT" => {
                    return self.act("reject", value, rule, fits, depth);
                }
                // A comment is all that iptables-nft cannot say by itself most of the time.
                "xt" if value["name"] == "comment" => {}
                // Of others it is not known whether they fit, or what they do.
                _ => fits = Is::Unknown,
            }
        }
        if fits == Is::Unknown {
            self.note(rule);
        }
        Next::Rule
    }

    fn act(&mut self, verb: &str, value: &Value, rule: &Value, fits: Is, depth: u8) -> Next {
        if fits == Is::Unknown {
            // One that may drop is none to be blamed; one that may let pass is a doubt.
            if !matches!(verb, "drop" | "reject") {
                self.note(rule);
            }
            return Next::Rule;
        }
        match verb {
            "accept" => Next::End(End::Accept),
            "return" => Next::Return,
            "drop" | "reject" => {
                Next::End(End::Drop(format!("a rule in {} says {verb}", text(rule, "chain"))))
            }
            _ => {
                let target = text(value, "target").to_owned();
                match self.chain(&target, depth) {
                    Some(end) => Next::End(end),
                    None if verb == "goto" => Next::Return,
                    None => Next::Rule,
                }
            }
        }
    }

    fn note(&mut self, rule: &Value) {
        const MOST: usize = 200;
        let text: String =
            format!("{} in {}", rule["expr"], text(rule, "chain")).chars().take(MOST).collect();
        self.doubt.get_or_insert(text);
    }

    fn matches(&self, value: &Value) -> Is {
        let (left, right, op) = (&value["left"], &value["right"], text(value, "op"));
        let is = self.one_of(left, right);
        match op {
            "==" | "in" => is,
            "!=" => is.not(),
            _ => Is::Unknown,
        }
    }

    /// Whether the packet's field is the value, or one of the values.
    fn one_of(&self, left: &Value, right: &Value) -> Is {
        let all = |values: &[Value]| {
            let each = values.iter().map(|v| self.one_of(left, v));
            each.fold(Is::No, |all, one| match (all, one) {
                (Is::Yes, _) | (_, Is::Yes) => Is::Yes,
                (Is::Unknown, _) | (_, Is::Unknown) => Is::Unknown,
                _ => Is::No,
            })
        };
        if let Some(values) = right.as_array().or_else(|| right["set"].as_array()) {
            return all(values);
        }
        if let Some(name) = right.as_str().and_then(|s| s.strip_prefix('@')) {
            return self.ruleset.set(self.base, name).map_or(Is::Unknown, |values| all(values));
        }
        // An element with a time-out or a comment.
        let right = if right["elem"].is_object() { &right["elem"]["val"] } else { right };
        self.field(left, right)
    }

    fn field(&self, left: &Value, right: &Value) -> Is {
        let p = self.packet;
        if let Some(key) = left["meta"]["key"].as_str() {
            return match key {
                "iifname" | "iif" => link(Some(p.into), right),
                "oifname" | "oif" => link(p.out, right),
                "iifgroup" => group(Some(p.into), right),
                "oifgroup" => group(p.out, right),
                "nfproto" => is(right, if p.from.is_ipv4() { "ipv4" } else { "ipv6" }),
                "l4proto" if p.port.is_some() => is(right, "udp"),
                _ => Is::Unknown,
            };
        }
        if left["ct"]["key"] == "state" {
            return if p.answer { is(right, "established") } else { is(right, "new") };
        }
        let payload = &left["payload"];
        match (text(payload, "protocol"), text(payload, "field")) {
            ("ip", "saddr") => address(p.from, true, right),
            ("ip", "daddr") => address(p.to, true, right),
            ("ip6", "saddr") => address(p.from, false, right),
            ("ip6", "daddr") => address(p.to, false, right),
            ("udp" | "th", "dport") => p.port.map_or(Is::Unknown, |port| number(port, right)),
            // Its protocol is known to be another one.
            ("tcp" | "icmp" | "icmpv6" | "sctp", _) if p.port.is_some() => Is::No,
            _ => Is::Unknown,
        }
    }
}

enum Next {
    Rule,
    Return,
    End(End),
}

fn is(right: &Value, value: &str) -> Is {
    right.as_str().map_or(Is::Unknown, |right| (right == value).into())
}

/// A name that ends with `*` stands for all that begin so.
fn link(port: Option<Port<'_>>, right: &Value) -> Is {
    let Some(right) = right.as_str() else { return Is::Unknown };
    let fits = |p: Port<'_>| right.strip_suffix('*').map_or(p.name == right, |stem| p.name.starts_with(stem));
    port.is_some_and(fits).into()
}

/// A number, or a name of /etc/iproute2/group, which says that 0 is `default`.
fn group(port: Option<Port<'_>>, right: &Value) -> Is {
    let number = if right == "default" { Some(0) } else { right.as_u64() };
    number.map_or(Is::Unknown, |number| port.is_some_and(|p| u64::from(p.group) == number).into())
}

fn number(port: u16, right: &Value) -> Is {
    let one = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok());
    match (one(right), right["range"].as_array().map(Vec::as_slice)) {
        (Some(n), _) => (n == port).into(),
        (None, Some([first, last])) => match (one(first), one(last)) {
            (Some(first), Some(last)) => (first..=last).contains(&port).into(),
            _ => Is::Unknown,
        },
        _ => Is::Unknown,
    }
}

fn address(ip: IpAddr, v4: bool, right: &Value) -> Is {
    // A header that the packet does not have.
    if ip.is_ipv4() != v4 {
        return Is::No;
    }
    let parse = |v: &Value| v.as_str().and_then(|s| s.parse::<IpAddr>().ok());
    if let Some(other) = parse(right) {
        return (other == ip).into();
    }
    let prefix = &right["prefix"];
    if let (Some(addr), Some(len)) = (parse(&prefix["addr"]), prefix["len"].as_u64()) {
        let net = u8::try_from(len).ok().and_then(|len| IpNetwork::new(addr, len).ok());
        return net.map_or(Is::Unknown, |net| net.contains(ip).into());
    }
    match right["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => match (parse(first), parse(last)) {
            (Some(first), Some(last)) => (first..=last).contains(&ip).into(),
            _ => Is::Unknown,
        },
        _ => Is::Unknown,
    }
}

#[cfg(test)]
#[path = "ruleset_tests.rs"]
mod tests;
