use super::*;
use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};

struct Fake(Arc<Mutex<Vec<String>>>);

impl Probe for Fake {
    fn not_ready(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
    fn observe(&self, metrics: &Metrics) {
        metrics.set_peers(5, 0);
    }
}

/// Status line, headers and body of a GET, over a real connection.
async fn fetch(address: SocketAddr, path: &'static str) -> String {
    tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let reasons =
        Arc::new(Mutex::new(vec!["the bridge is missing".to_owned(), "no address is free".to_owned()]));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(any, Fake(reasons.clone()), Arc::new(Metrics::new("1"))).await.unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async { drop(stopped.await) }));

    assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
    let not_ready = fetch(address, "/readyz").await;
    assert!(not_ready.starts_with("HTTP/1.1 503"), "{not_ready}");
    assert!(not_ready.ends_with("\r\n\r\nthe bridge is missing\nno address is free\n"), "{not_ready}");
    reasons.lock().unwrap().clear();
    assert!(fetch(address, "/readyz").await.ends_with("\r\n\r\nok\n"));
    let metrics = fetch(address, "/metrics").await;
    assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
    assert!(metrics.contains("offramp_peers{state=\"ok\"} 5\n"), "{metrics}");
    assert!(fetch(address, "/other").await.starts_with("HTTP/1.1 404"));

    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

/// Who has not finished looking until it is told to.
struct Slow {
    began: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Probe for Slow {
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }
    fn observe(&self, metrics: &Metrics) {
        self.began.send(()).unwrap();
        self.go_on.lock().unwrap().recv_timeout(Duration::from_secs(30)).unwrap();
        metrics.set_peers(5, 0);
    }
}

#[tokio::test]
async fn looking_for_the_metrics_keeps_nobody_waiting() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let ((began, begun), (go, go_on)) = (mpsc::channel(), mpsc::channel());
    let probe = Slow { began, go_on: Mutex::new(go_on) };
    let server = Server::bind(any, probe, Arc::new(Metrics::new("1"))).await.unwrap();
    let address = server.address().unwrap();
    let running = tokio::spawn(server.run(std::future::pending()));
    let metrics = tokio::spawn(fetch(address, "/metrics"));
    tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
    assert!(fetch(address, "/readyz").await.starts_with("HTTP/1.1 200 OK"));
    go.send(()).unwrap();
    assert!(metrics.await.unwrap().contains("offramp_peers{state=\"ok\"} 5\n"));
    running.abort();
}

#[tokio::test]
async fn an_address_in_use_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::bind(address, Fake(Arc::default()), Arc::new(Metrics::new("1"))).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("serve health and metrics on {address} (http.address): Address already in use (os error 98)")
    );
}
