//! The kernel's network state as text, by our own readers: a container has no iproute2.

use super::{Content, MOST_OF_ONE};
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Result, addr, fdb, route};
use std::fmt::Write;
use std::path::Path;

/// All that is known of each link.
pub fn links() -> Result<Vec<u8>> {
    let mut text = String::new();
    for link in all()?.1 {
        let _ = writeln!(text, "{link:?}");
    }
    Ok(text.into_bytes())
}

/// Each link's addresses.
pub fn addresses() -> Result<Vec<u8>> {
    of_each(|socket, link| Ok(addr::list(socket, link.index)?.iter().map(ToString::to_string).collect()))
}

/// Each link's unicast routes, of all tables.
pub fn routes() -> Result<Vec<u8>> {
    of_each(|socket, link| {
        let ways = route::list(socket, link.index)?;
        let show = |way: &route::Way| match way.gateway {
            Some(gateway) => format!("{} via {gateway}", way.dst),
            None => format!("{} on link", way.dst),
        };
        Ok(ways.iter().map(show).collect())
    })
}

/// What bridges have learned, and what ports' filters hold.
pub fn forwarding() -> Result<Vec<u8>> {
    of_each(|socket, link| {
        if link.kind.as_deref() == Some("bridge") {
            let learned = fdb::learned(socket, &link.name, link.index)?;
            return Ok(learned.iter().map(|l| format!("{} at link {}", l.mac, l.port)).collect());
        }
        if link.parent.is_none() {
            return Ok(Vec::new());
        }
        let filter = fdb::filter(socket, &link.name, link.index)?;
        Ok(filter.iter().map(|mac| format!("{mac} in the port's own filter")).collect())
    })
}

fn all() -> Result<(Socket, Vec<Link>)> {
    let mut socket = Socket::open()?;
    let links = link::list(&mut socket)?;
    Ok((socket, links))
}

/// A link that goes while one looks is told so.
fn of_each(lines: impl Fn(&mut Socket, &Link) -> Result<Vec<String>>) -> Result<Vec<u8>> {
    let (mut socket, links) = all()?;
    let mut text = String::new();
    for link in links {
        match lines(&mut socket, &link) {
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => {
                let _ = writeln!(text, "{} ({}):\n  {}", link.name, link.index, lines.join("\n  "));
            }
            Err(e) => drop(writeln!(text, "{} ({}): {e}", link.name, link.index)),
        }
    }
    Ok(text.into_bytes())
}

/// Settings of IP, of neighbours and of links; of pods' links only those that all have.
pub fn sysctls(root: &Path) -> Content {
    let mut text = String::new();
    for folder in ["core", "ipv4", "ipv6", "bridge", "netfilter"] {
        settings(&root.join(folder), folder, 0, &mut text);
    }
    if text.is_empty() { Err(format!("{} has no settings", root.display())) } else { Ok(text.into_bytes()) }
}

/// Some cannot be read, such as `route/flush`.
fn settings(dir: &Path, name: &str, depth: u8, text: &mut String) {
    const DEPTH: u8 = 3;
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let Some(file) = path.file_name().and_then(|n| n.to_str()) else { continue };
        let key = format!("{name}/{file}");
        // Hosts' ends of pods' links: thousands, and all alike.
        let is_pods = file.starts_with("of") && file.len() == 15;
        if is_pods || text.len() > MOST_OF_ONE {
            continue;
        }
        if path.is_dir() {
            if depth < DEPTH {
                settings(&path, &key, depth + 1, text);
            }
        } else if let Ok(value) = std::fs::read_to_string(&path) {
            let _ = writeln!(text, "{key} = {}", value.trim().replace('\n', " "));
        }
    }
}
