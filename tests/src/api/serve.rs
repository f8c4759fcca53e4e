//! HTTP: connections, and one request after the other.

use super::reply::{Refusal, json_response};
use super::request::Ask;
use super::store::Store;
use super::watch::Watch;
use futures::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What the server's thread and its handle share.
pub struct Shared {
    store: Mutex<Store>,
    /// Counts changes, to wake watches.
    changes: watch::Sender<u64>,
    /// Counts disconnects.
    cuts: watch::Sender<u64>,
    stopped: watch::Sender<bool>,
    pub outage: AtomicBool,
    pub sent: AtomicU64,
    pub watches: AtomicUsize,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            store: Mutex::default(),
            changes: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            stopped: watch::Sender::new(false),
            outage: AtomicBool::default(),
            sent: AtomicU64::default(),
            watches: AtomicUsize::default(),
        }
    }
}

impl Shared {
    pub fn store(&self) -> MutexGuard<'_, Store> {
        // A test that panics while it looks has the objects whole.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn disconnect(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    pub fn stop(&self) {
        self.stopped.send_replace(true);
        self.disconnect();
    }
}

/// Serves until stopped; tells the address, or why there is none.
pub fn run(
    shared: &Arc<Shared>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    told: &std::sync::mpsc::Sender<std::io::Result<SocketAddr>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(e) => return drop(told.send(Err(e))),
        };
        let _ = told.send(listener.local_addr());
        let mut stopped = shared.stopped.subscribe();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                Ok((stream, _)) = listener.accept() => {
                    if !shared.outage.load(Ordering::SeqCst) {
                        tokio::spawn(accept(shared.clone(), stream, tls.clone()));
                    }
                }
            }
        }
    });
}

async fn accept(shared: Arc<Shared>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(shared, stream).await,
        // Who does not want to speak it, or with us, has closed.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                connection(shared, stream).await;
            }
        }
    }
}

/// Until either end closes it, or it is cut.
async fn connection(shared: Arc<Shared>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut cuts = shared.cuts.subscribe();
    let service = service_fn(move |request| respond(shared.clone(), request));
    let mut http = hyper::server::conn::http1::Builder::new();
    let connection = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        _ = cuts.changed() => {}
    }
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let Some(ask) = Ask::read(&parts, body) else {
        let text = format!("the server could not find {}", parts.uri.path());
        return Ok(Refusal::new(404, "NotFound", text).response());
    };
    let response = answer(&shared, &ask).unwrap_or_else(|refusal| refusal.response());
    let code = response.status().as_u16();
    shared.store().log.push(super::Logged { code, ..ask.log });
    let counting = shared.clone();
    Ok(response.map(|body| {
        let count = move |frame: Frame<Bytes>| {
            counting.sent.fetch_add(frame.data_ref().map_or(0, |d| d.len() as u64), Ordering::Relaxed);
            frame
        };
        body.map_frame(count).boxed_unsync()
    }))
}

fn answer(shared: &Arc<Shared>, ask: &Ask) -> Result<Response<Body>, Refusal> {
    if ask.log.verb != "watch" {
        let (code, value) = shared.store().answer(ask)?;
        if !matches!(ask.log.verb.as_str(), "get" | "list") {
            shared.changed();
        }
        return Ok(json_response(code, &value));
    }
    let watch = Watch::begin(shared, ask)?;
    let lines = unfold(watch, |mut watch| async {
        let line = watch.next().await?;
        Some((Ok(Frame::data(Bytes::from(line))), watch))
    });
    let body = StreamBody::new(lines).boxed_unsync();
    Ok(Response::builder().header(CONTENT_TYPE, "application/json").body(body).unwrap())
}
