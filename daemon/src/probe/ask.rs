//! One round of questions to one peer, from this node's gateway to the peer's: the way that pods' packets take.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offramp_core::probe::{ANSWER, MAX_MESSAGE, Question, Round, Stage, Tally, single};
use offramp_kernel::probe::{Checksum, connect, segment_size, send_segments, udp};
use offramp_kernel::random;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What is not answered by then is lost.
const PATIENCE: Duration = Duration::from_millis(1500);
/// So is what is not answered so soon after all of the control was, which went beside it; and not within a few times what
/// that took.
const BEHIND: Duration = Duration::from_millis(200);
const TIMES_BEHIND: u32 = 4;
/// The same of a large message over TCP, which loses a segment now and then.
const TCP_PATIENCE: Duration = Duration::from_secs(4);
/// Pairs of packets in a round.
const PAIRS: u8 = 8;
/// Bytes of each.
const PACKET: usize = 100;
/// Large packets in a round, how many each is cut into, and how many bytes these have: they fit whatever the MTU is.
const BURSTS: u8 = 2;
const CUT: u8 = 4;
const SEGMENT: u16 = 400;
/// Messages of one segment each, before the large one.
const SINGLE: u32 = 4;
/// A length comes before each message.
const PREFIX: u32 = 4;

/// Between whom.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// This node's gateway.
    pub from: IpAddr,
    /// The peer's.
    pub to: SocketAddr,
}

/// Asks; an error says why nothing can be told.
pub fn ask(stage: Stage, ends: Ends) -> Result<Round, String> {
    match stage {
        Stage::Checksum => checksums(ends).map(Round::from),
        Stage::Segments => segments(ends),
        Stage::Tcp => stream(ends).map(Round::from),
    }
}

/// A socket of each kind.
struct Pair {
    control: UdpSocket,
    offloaded: UdpSocket,
    nonce: u64,
}

impl Pair {
    fn open(ends: Ends) -> Result<Self, String> {
        let open = |checksum| {
            let socket = udp(SocketAddr::new(ends.from, 0), checksum).map_err(|e| e.to_string())?;
            let connected = socket.connect(ends.to).and_then(|()| socket.set_nonblocking(true));
            connected.map_err(|e| format!("connect UDP to {}: {e}", ends.to))?;
            Ok::<_, String>(socket)
        };
        let nonce = random::bits64().map_err(|e| e.to_string())?;
        Ok(Self { control: open(Checksum::None)?, offloaded: open(Checksum::Offloaded)?, nonce })
    }

    fn question(&self, number: u8, len: usize) -> Vec<u8> {
        Question { nonce: self.nonce, number }.encode(len)
    }

    /// The numbers that are answered to each, until all that were sent are, or time is up.
    fn answers(&self, sent: usize) -> Result<(BTreeSet<u8>, BTreeSet<u8>), String> {
        let start = Instant::now();
        let mut deadline = start + PATIENCE;
        let (mut control, mut offloaded) = (BTreeSet::new(), BTreeSet::new());
        while control.len() < sent || offloaded.len() < sent {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let mut fds = [&self.control, &self.offloaded].map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            let waited = control.len() < sent;
            self.take(&self.control, &mut control)?;
            if waited && control.len() >= sent {
                deadline = deadline.min(Instant::now() + BEHIND + start.elapsed() * TIMES_BEHIND);
            }
            self.take(&self.offloaded, &mut offloaded)?;
        }
        Ok((control, offloaded))
    }

    fn take(&self, socket: &UdpSocket, answered: &mut BTreeSet<u8>) -> Result<(), String> {
        let mut buffer = [0; ANSWER + 1];
        loop {
            match socket.recv(&mut buffer) {
                Ok(len) => {
                    let ours = Question::answered(&buffer[..len]).filter(|q| q.nonce == self.nonce);
                    answered.extend(ours.map(|question| question.number));
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
                Err(e) => return Err(explain(&e)),
            }
        }
    }
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "nobody answers at its port: its daemon is older, is away, or does not probe".into()
        }
        _ => error.to_string(),
    }
}

fn checksums(ends: Ends) -> Result<Tally, String> {
    let pair = Pair::open(ends)?;
    for number in 0..PAIRS {
        let packet = pair.question(number, PACKET);
        let mut sockets = [&pair.control, &pair.offloaded];
        // What is dropped since there is too much of it is not always the same one's.
        sockets.rotate_left(usize::from(number % 2));
        sockets.iter().try_for_each(|s| s.send(&packet).map(drop)).map_err(|e| explain(&e))?;
    }
    let (control, offloaded) = pair.answers(PAIRS.into())?;
    Ok(tally((PAIRS.into(), control.len()), (PAIRS.into(), offloaded.len())))
}

/// The first segment of a large packet has the header that the packet had: that it arrives tells nothing. Where the kernel
/// leaves nothing to the device, the device gets nothing wrong.
fn segments(ends: Ends) -> Result<Round, String> {
    let pair = Pair::open(ends)?;
    for burst in 0..BURSTS {
        let numbers = burst * CUT..(burst + 1) * CUT;
        let packets: Vec<_> = numbers.map(|n| pair.question(n, SEGMENT.into())).collect();
        packets.iter().try_for_each(|p| pair.control.send(p).map(drop)).map_err(|e| explain(&e))?;
        if !send_segments(&pair.offloaded, &packets.concat(), SEGMENT).map_err(|e| e.to_string())? {
            return Ok(Round::Passes);
        }
    }
    let all = usize::from(BURSTS * CUT);
    let (control, offloaded) = pair.answers(all)?;
    let later = offloaded.iter().filter(|number| **number % CUT != 0).count();
    Ok(tally((all, control.len()), (all - usize::from(BURSTS), later)).into())
}

fn tally((control_sent, control): (usize, usize), (sent, answered): (usize, usize)) -> Tally {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Tally {
        control_sent: count(control_sent),
        control_answered: count(control),
        offloaded_sent: count(sent),
        offloaded_answered: count(answered),
    }
}

/// Full segments one by one, and then as many at once as the kernel likes to leave to the device.
fn stream(ends: Ends) -> Result<Tally, String> {
    let mut stream = connect(SocketAddr::new(ends.from, 0), ends.to, PATIENCE).map_err(|e| e.to_string())?;
    let prepare = |s: &TcpStream| s.set_nodelay(true).and_then(|()| s.set_write_timeout(Some(TCP_PATIENCE)));
    prepare(&stream).map_err(|e| e.to_string())?;
    let size = single(segment_size(&stream).map_err(|e| e.to_string())?, SINGLE);
    let mut tally = Tally { control_sent: SINGLE, ..Tally::default() };
    for _ in 0..SINGLE {
        // Without all of the control, the large one would tell nothing.
        if message(&mut stream, size, PATIENCE).is_err() {
            return Ok(tally);
        }
        tally.control_answered += 1;
    }
    tally.offloaded_sent = 1;
    tally.offloaded_answered = u32::from(message(&mut stream, MAX_MESSAGE, TCP_PATIENCE).is_ok());
    Ok(tally)
}

/// Sends a message of so many bytes, its length included, and waits until the peer says that it has it.
fn message(stream: &mut TcpStream, size: u32, patience: Duration) -> std::io::Result<()> {
    let length = size.saturating_sub(PREFIX).max(1);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.resize((length + PREFIX) as usize, 0xa5);
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&bytes)?;
    let mut answer = [0; PREFIX as usize];
    stream.read_exact(&mut answer)?;
    if answer == length.to_be_bytes() { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}
