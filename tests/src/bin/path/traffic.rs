//! Traffic between two namespaces, and what it costs.

use offramp_kernel::Netns;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// So long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const WARM_UP: usize = 200;
const CHUNK: usize = 128 << 10;

/// Round trips of 64 bytes by UDP from `a` to `b`, in microseconds, each as it was.
pub fn pings(a: &Netns, b: &Netns, to: IpAddr, count: usize) -> Result<Vec<f64>, String> {
    let server = open(b, || bound(SocketAddr::new(to, 0)))?;
    let address = server.local_addr().map_err(failed("ask for the server's port"))?;
    let client = open(a, || bound(SocketAddr::new(unspecified(to), 0)))?;
    client.connect(address).map_err(failed("connect to the server"))?;
    let mut times = Vec::with_capacity(count);
    let all = WARM_UP + count;
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| echo(&server, all));
        let mut answer = [0; 64];
        for n in 0..all {
            let start = Instant::now();
            client.send(&[0; 64]).map_err(failed("send"))?;
            client.recv(&mut answer).map_err(failed("wait for an answer"))?;
            if n >= WARM_UP {
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        echo.join().map_err(|_| "the server's thread died".to_owned())?
    })?;
    Ok(times)
}

fn bound(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn echo(server: &UdpSocket, count: usize) -> Result<(), String> {
    let mut buffer = [0; 64];
    for _ in 0..count {
        let (len, from) = server.recv_from(&mut buffer).map_err(failed("wait for a ping"))?;
        server.send_to(&buffer[..len], from).map_err(failed("answer"))?;
    }
    Ok(())
}

/// What a connection moved, and what the machine's CPUs did meanwhile.
pub struct Stream {
    /// Gbit/s, as received.
    pub gbits: f64,
    /// CPU seconds that all of the machine spent, for each gigabyte.
    pub cpu_per_gb: f64,
}

/// One TCP connection from `a` to `b` that sends as fast as it can.
pub fn stream(a: &Netns, b: &Netns, to: IpAddr, time: Duration) -> Result<Stream, String> {
    let listener = open(b, || TcpListener::bind(SocketAddr::new(to, 0)))?;
    let address = listener.local_addr().map_err(failed("ask for the server's port"))?;
    let mut client = open(a, || TcpStream::connect_timeout(&address, PATIENCE))?;
    std::thread::scope(|scope| {
        let sink = scope.spawn(|| receive(&listener));
        let (start, busy) = (Instant::now(), busy()?);
        let chunk = vec![0; CHUNK];
        while start.elapsed() < time {
            client.write_all(&chunk).map_err(failed("send"))?;
        }
        drop(client);
        let received = sink.join().map_err(|_| "the receiver's thread died".to_owned())??;
        let (took, busy) = (start.elapsed().as_secs_f64(), self::busy()? - busy);
        Ok(Stream { gbits: received * 8.0 / took / 1e9, cpu_per_gb: busy / (received / 1e9) })
    })
}

/// All bytes of one connection.
fn receive(listener: &TcpListener) -> Result<f64, String> {
    let (mut stream, _) = listener.accept().map_err(failed("accept"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed("set a time-out"))?;
    let (mut buffer, mut received) = (vec![0; CHUNK], 0);
    loop {
        match stream.read(&mut buffer).map_err(failed("receive"))? {
            0 => return Ok(received as f64),
            len => received += len,
        }
    }
}

/// What the CPUs have done since the start of the machine, in seconds: all but idling, waiting, and what a hypervisor took
/// (proc_stat(5)).
fn busy() -> Result<f64, String> {
    let stat = std::fs::read_to_string("/proc/stat").map_err(failed("read /proc/stat"))?;
    let times = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = times.filter_map(|t| t.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        return Err(format!("read /proc/stat: {} times of all CPUs", ticks.len()));
    };
    // USER_HZ is 100 on every architecture that containers run on.
    Ok((user + nice + system + irq + softirq) / 100.0)
}

/// A socket stays in the namespace in which it was opened.
fn open<T>(netns: &Netns, open: impl FnOnce() -> std::io::Result<T>) -> Result<T, String> {
    let opened = netns.inside(|| Ok(open())).map_err(|e| e.to_string())?;
    opened.map_err(failed(&format!("open a socket in {}", netns.path().display())))
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> String + use<> {
    let what = what.to_owned();
    move |e| format!("{what}: {e}")
}
