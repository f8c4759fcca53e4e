//! The Offramp CNI plugin: called by a container runtime with a verb in the environment and a network
//! configuration on stdin; it answers on stdout and ends.

mod client;
mod context;
mod heap;
mod inline;
mod log;
mod networks;
mod node;
mod verbs;

use offramp_core::cni::config::MAX_STDIN;
use offramp_core::cni::{Call, CniError, NetConf, Verb, Version};
use std::io::{Read, Write};
use std::process::ExitCode;

/// musl's allocator maps and unmaps a page for every few small allocations: 30 times in an ADD, each with a page fault.
#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

const ABOUT: &str = concat!(
    "offramp ",
    env!("CARGO_PKG_VERSION"),
    ": the Offramp CNI plugin. It is called by a container runtime (kubelet's, podman, ...), not by hand:
put it in the CNI plugin directory (usually /opt/cni/bin), and a configuration with \"type\": \"offramp\"
in the configuration directory (usually /etc/cni/net.d).

  node mode    {\"cniVersion\": \"1.1.0\", \"name\": \"pods\", \"type\": \"offramp\"}
               asks the node daemon; `offrampd --help` tells how to look at it
  inline mode  the fields of the reference plugin `bridge`, and an \"ipam\"; needs no daemon

Speaks CNI 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0: ADD, DEL, CHECK, GC, STATUS, VERSION.
Documentation: docs/ in ",
    env!("CARGO_PKG_REPOSITORY")
);

fn main() -> ExitCode {
    if std::env::var_os("CNI_COMMAND").is_none_or(|c| c.is_empty()) {
        eprintln!("{ABOUT}");
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|info| {
        let error = CniError::internal(format!("offramp failed unexpectedly: {info}"));
        let _ = writeln!(std::io::stdout(), "{}", error.to_json(Version::NEWEST));
    }));
    let stdin = match read_stdin() {
        Ok(stdin) => stdin,
        Err(e) => return answer(Err(e), Version::NEWEST),
    };
    let version = NetConf::version_of(&stdin);
    answer(serve(&stdin, version), version)
}

fn serve(stdin: &[u8], version: Version) -> Result<Option<String>, CniError> {
    let call = Call::from_env(|key| std::env::var_os(key)).inspect_err(|e| log::refused(stdin, e))?;
    if call.verb == Verb::Version {
        return Ok(Some(verbs::version::answer(version)));
    }
    let lenient = matches!(call.verb, Verb::Del | Verb::Gc);
    let conf = NetConf::parse(stdin, lenient).inspect_err(|e| log::refused(stdin, e))?;
    let mut cx = context::Context::new(call, conf, stdin.len());
    let outcome = match cx.call.verb {
        Verb::Add => verbs::add::run(&mut cx).map(Some),
        Verb::Del => verbs::del::run(&mut cx).map(|()| None),
        Verb::Check => verbs::check::run(&mut cx).map(|()| None),
        Verb::Gc => verbs::gc::run(&mut cx).map(|()| None),
        Verb::Status => verbs::status::run(&mut cx).map(|()| None),
        Verb::Version => Ok(None),
    };
    log::write(&cx, outcome.as_ref().err());
    outcome.map(|json| json.map(|j| j.to_string()))
}

fn read_stdin() -> Result<Vec<u8>, CniError> {
    let mut stdin = Vec::new();
    let limit = MAX_STDIN as u64 + 1;
    std::io::stdin()
        .take(limit)
        .read_to_end(&mut stdin)
        .map_err(|e| CniError::io(format!("read stdin: {e}")))?;
    if stdin.len() > MAX_STDIN {
        return Err(CniError::decode(format!("stdin is larger than {MAX_STDIN} bytes")));
    }
    Ok(stdin)
}

/// Nothing but the result goes to stdout.
fn answer(outcome: Result<Option<String>, CniError>, version: Version) -> ExitCode {
    let (text, code) = match outcome {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(text)) => (text, ExitCode::SUCCESS),
        Err(e) => (e.to_json(version), ExitCode::FAILURE),
    };
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
