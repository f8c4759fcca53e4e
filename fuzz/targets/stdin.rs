//! A network configuration on stdin, and the same bytes as a result of another plugin and as CNI_ARGS.
#![no_main]

use libfuzzer_sys::fuzz_target;
use offramp_core::cni::args::Args;
use offramp_core::cni::{CniResult, NetConf, Version};
use offramp_fuzz::is_presentable;

fuzz_target!(|data: &[u8]| {
    NetConf::version_of(data);
    let (strict, lenient) = (NetConf::parse(data, false), NetConf::parse(data, true));
    assert!(strict.is_err() || lenient.is_ok(), "DEL would refuse what ADD took: {lenient:?}");
    strict.as_ref().err().map(is_presentable);
    lenient.as_ref().err().map(is_presentable);
    if let Ok(conf) = &strict {
        conf.prev_result.iter().for_each(round_trip);
    }
    if let Ok(json) = serde_json::from_slice(data) {
        match CniResult::from_json(json) {
            Ok(result) => round_trip(&result),
            Err(e) => is_presentable(&e),
        }
    }
    if let Ok(text) = str::from_utf8(data) {
        Args::parse(text).err().as_ref().map(is_presentable);
    }
});

/// The newest version's shape carries all of a result; older ones leave out, and can be read again.
fn round_trip(result: &CniResult) {
    for version in Version::ALL {
        let again = CniResult::from_json(result.to_json(version)).expect("our own result");
        assert!(version != Version::NEWEST || again == *result, "{again:?} is not {result:?}");
    }
}
