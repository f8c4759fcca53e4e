//! Ways that carry packets of more than 64 KiB are kept for the next daemon: to try them takes seconds. Those that were not shown
//! to are tried again by each, since TCP stalls where CPUs are busy too.

use offramp_core::net::Family;
use offramp_core::offload::Answer;
use offramp_core::overlay::big_tcp::{Carrier, Shown, ways};
use offramp_ledger::Store;
use serde::{Deserialize, Serialize};

/// Its name among what the daemon keeps.
const KEPT: &str = "big-tcp";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// Who has tried, and where.
    tried: String,
    carry: Vec<(Carrier, Family)>,
}

/// Another daemon may try in another way, another kernel may carry something else, and its modules may be others after a boot.
pub fn trial() -> Option<String> {
    let unknown = |error| tracing::warn!(%error, "which ways carry packets of more than 64 KiB is not kept");
    let kernel = offramp_kernel::boot::identity().map_err(unknown).ok()?;
    Some(format!("offrampd {}, Linux {kernel}", crate::VERSION))
}

/// Those that were shown by a former daemon, whose trial was this one.
pub fn recall(store: &Store, trial: &str) -> Shown {
    let kept: Option<Kept> = store.kept(KEPT).unwrap_or_else(|error| {
        tracing::warn!(%error, "which ways carry packets of more than 64 KiB is tried anew");
        None
    });
    let same = kept.filter(|kept| kept.tried == trial);
    same.into_iter().flat_map(|kept| kept.carry).map(|way| (way, Answer::There)).collect()
}

pub fn keep(store: &Store, trial: &str, shown: &Shown) {
    let carry = shown.iter().filter(|(_, answer)| **answer == Answer::There).map(|(way, _)| *way).collect();
    if let Err(error) = store.keep(KEPT, &Kept { tried: trial.to_owned(), carry }) {
        tracing::warn!(%error, "the next daemon tries again which ways carry packets of more than 64 KiB");
    }
}

/// Whether there is nothing left to try.
pub fn is_all(shown: &Shown) -> bool {
    ways().all(|way| shown.get(&way) == Some(&Answer::There))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_known_to_the_next_daemon_of_this_boot_and_the_rest_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        assert_eq!(recall(&store, "here"), Shown::default(), "nothing was tried");
        let lost = Answer::Missing { why: "TCP stalls".into() };
        let mut shown: Shown = ways().map(|way| (way, Answer::There)).collect();
        assert!(is_all(&shown));
        let way = (Carrier::Vxlan { outer: Family::V6 }, Family::V4);
        shown.insert(way, lost);
        keep(&store, "here", &shown);
        shown.remove(&way);
        assert_eq!(recall(&store, "here"), shown);
        assert!(!is_all(&shown) && !is_all(&Shown::default()));
        assert_eq!(recall(&store, "after a boot"), Shown::default());
        std::fs::write(dir.path().join("cluster/big-tcp.json"), r#"{"tried":"here","carry":[["#).unwrap();
        assert_eq!(recall(&store, "here"), Shown::default(), "what cannot be read is tried anew");
    }

    #[test]
    fn a_trial_is_of_this_daemon_and_this_boot() {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let trial = trial().unwrap();
        assert!(trial.contains(crate::VERSION) && trial.ends_with(&format!(" {}", boot.trim())), "{trial}");
    }
}
