//! One connection: requests and their answers in turn.

use super::uid_of;
use crate::nics::Nics;
use crate::node::{Caller, Node};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offramp_core::cni::CniError;
use offramp_core::ids::AttachmentId;
use offramp_core::nic::Inventory;
use offramp_core::offload::Offloads;
use offramp_core::wire::{Envelope, Request, Response, frame_header, frame_len};
use offramp_kernel::crash;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A plugin executes its steps between two requests; the runtime gives it four minutes.
const IDLE: Duration = Duration::from_secs(300);

/// Answers fit into the socket's buffer, but for long lists: who does not read them holds a thread.
const SLOW_READER: Duration = Duration::from_secs(10);
/// Root need not wait for anybody else.
const FOREIGN: Duration = Duration::from_secs(1);

/// Serves until the caller is gone. What it prepared and did not commit is taken back.
pub fn serve(node: &Arc<Node>, mut stream: UnixStream) {
    let mut pending = None;
    let call = node.calls.begin();
    let outcome = stream
        .set_read_timeout(Some(IDLE))
        .and_then(|()| stream.set_write_timeout(Some(SLOW_READER)))
        .and_then(|()| converse(node, &mut stream, &mut pending));
    if let Err(e) = outcome {
        tracing::debug!(error = %e, "connection ended");
    }
    drop(stream);
    drop(call);
    if let Some(id) = pending {
        tracing::info!(attachment = %id, "its plugin went away before the commit");
        if let Err(e) = node.abandon(&id) {
            tracing::warn!(attachment = %id, error = %e, "cannot take it back yet, reclaim will");
        }
    }
}

fn converse(node: &Arc<Node>, stream: &mut UnixStream, pending: &mut Option<AttachmentId>) -> io::Result<()> {
    let uid = uid_of(stream)?;
    if uid != 0 {
        tracing::warn!(uid, "refused a caller that is not root");
        let error = CniError::environment(format!("offrampd serves root only, not uid {uid}"));
        // Or it would be told of a broken pipe while it still speaks.
        stream.set_read_timeout(Some(FOREIGN))?;
        let _ = receive(stream);
        return send(stream, &Response::refused(error));
    }
    while let Some(frame) = receive(stream)? {
        crash::point("request.received");
        let envelope = match frame.and_then(|f| Envelope::parse(&f)) {
            Ok(envelope) => envelope,
            // Where the next frame begins is not known.
            Err(error) => return send(stream, &Response::refused(error)),
        };
        // Who tells of a commit does not wait: it has often left by now.
        if !matches!(envelope.request, Request::Committed(_)) && has_left(stream) {
            return Ok(());
        }
        let responses = answer(node, envelope.request, pending, &|| !has_left(stream))
            .unwrap_or_else(|error| vec![Response::refused(error)]);
        crash::point("answer.ready");
        responses.iter().try_for_each(|r| send(stream, r))?;
        crash::point("answer.sent");
    }
    Ok(())
}

/// Whether the caller is gone. Then the attachment's lock is no longer its own, and whoever has it now may have
/// made other plans: a request that nobody waits for is not served.
fn has_left(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLHUP)];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

fn answer(
    node: &Arc<Node>,
    request: Request,
    pending: &mut Option<AttachmentId>,
    caller: Caller,
) -> Result<Vec<Response>, CniError> {
    match request {
        Request::Prepare(ask) => {
            let prepared = node.prepare(&ask, caller);
            let leftovers = node.leftovers();
            return Ok(vec![match prepared {
                Ok(record) => {
                    *pending = Some(record.attachment.clone());
                    Response::Planned { record: Box::new(record), leftovers }
                }
                Err(error) => Response::Refused { error, leftovers },
            }]);
        }
        Request::Judge { network, ips } => node.judge(&network, &ips)?,
        Request::Commit(commit) => {
            node.commit(&commit, caller)?;
            *pending = None;
        }
        Request::Committed(commit) => {
            node.committed(&commit);
            *pending = None;
            return Ok(Vec::new());
        }
        Request::Abort { attachment } | Request::Release { attachment } => {
            node.release(&attachment, caller)?;
            *pending = None;
        }
        Request::Ready => {
            let reasons = node.not_ready();
            if !reasons.is_empty() {
                return Err(CniError::unavailable(reasons.join("; ")));
            }
        }
        Request::Status => {
            node.look_for_silent();
            node.offloads.soon(); // what somebody has turned off is told as it is now
            let status = serde_json::to_value(node.status())
                .map_err(|e| CniError::internal(format!("encode the status: {e}")))?;
            return Ok(vec![Response::Status { status }]);
        }
        Request::Nics => {
            let inventory = Inventory::clone(&node.nics.inventory());
            let queues = node.queues(&inventory)?.all();
            let offload = Offloads::clone(&node.offloads.soon());
            let nics = Nics::new(inventory, offload, &node.store, &node.config.pools);
            let nics = Nics { queues, ..nics };
            let nics = serde_json::to_value(nics)
                .map_err(|e| CniError::internal(format!("encode the NICs: {e}")))?;
            return Ok(vec![Response::Nics { nics }]);
        }
        Request::Probe { undo } => {
            let probes = node.probe_now(undo)?;
            let probes = serde_json::to_value(probes)
                .map_err(|e| CniError::internal(format!("encode what was found: {e}")))?;
            return Ok(vec![Response::Probed { probes }]);
        }
        Request::Attachments => {
            let listing = node.store.list()?;
            let unreadable = listing.unreadable.iter().map(ToString::to_string).collect();
            return Ok(Response::attachments(listing.records, unreadable));
        }
    }
    Ok(vec![Response::Done])
}

/// One frame; none at the end of the stream; an error inside for a frame that is too large.
fn receive(stream: &mut UnixStream) -> io::Result<Option<Result<Vec<u8>, CniError>>> {
    let mut header = [0; 4];
    match stream.read_exact(&mut header) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    match frame_len(header) {
        Err(e) => Ok(Some(Err(e))),
        Ok(len) => {
            let mut frame = vec![0; len];
            stream.read_exact(&mut frame)?;
            Ok(Some(Ok(frame)))
        }
    }
}

fn send(stream: &mut UnixStream, response: &Response) -> io::Result<()> {
    let json = serde_json::to_vec(response)?;
    // An answer that is too large for a frame is refused like anything else.
    let json = match frame_header(json.len()) {
        Ok(_) => json,
        Err(error) => serde_json::to_vec(&Response::refused(error))?,
    };
    let header = frame_header(json.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(json.len() + header.len());
    frame.extend(header);
    frame.extend(json);
    stream.write_all(&frame)
}
