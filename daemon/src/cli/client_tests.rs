use super::*;
use crate::cli::fixture::record;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

/// A daemon that answers one request with these bytes and hands back what it was asked.
fn daemon(socket: &Path, answer: Vec<u8>) -> JoinHandle<Vec<u8>> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut header = [0; 4];
        stream.read_exact(&mut header).unwrap();
        let mut request = vec![0; frame_len(header).unwrap()];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&answer).unwrap();
        request
    })
}

fn frame(response: &Response) -> Vec<u8> {
    let payload = serde_json::to_vec(response).unwrap();
    [frame_header(payload.len()).unwrap().to_vec(), payload].concat()
}

/// What the client makes of an answer to `attachments`.
fn answered(answer: Vec<u8>) -> Result<(Vec<Record>, Vec<String>), ClientError> {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let asked = daemon(&socket, answer);
    let result = Client::new(&socket).attachments();
    let request = asked.join().unwrap();
    assert_eq!(Envelope::parse(&request).unwrap(), Envelope::new(Request::Attachments));
    result
}

#[test]
fn an_answer_is_taken() {
    let responses = Response::attachments(vec![record()], vec!["x".into()]);
    assert_eq!(responses.len(), 1);
    assert_eq!(answered(frame(&responses[0])).unwrap(), (vec![record()], vec!["x".to_owned()]));
}

#[test]
fn a_full_node_takes_several_frames() {
    let many: Vec<Record> = (0..1000).map(|i| Record { created: i, ..record() }).collect();
    let frames: Vec<Vec<u8>> =
        Response::attachments(many.clone(), vec!["x".into()]).iter().map(frame).collect();
    assert!(frames.len() > 1);
    assert_eq!(answered(frames.concat()).unwrap(), (many, vec!["x".to_owned()]));
}

#[test]
fn refusals_and_other_releases_are_told() {
    let told = |answer: Vec<u8>| answered(answer).unwrap_err().to_string();
    let refused = |error| frame(&Response::refused(error));
    assert_eq!(
        told(refused(CniError::environment("uid 1000 is not root"))),
        "offrampd refused: uid 1000 is not root"
    );
    let other = told(refused(CniError::protocol("the caller speaks protocol 1, this offrampd speaks 2")));
    assert_eq!(
        other.lines().next().unwrap(),
        "offrampd is of another release than this command: the caller speaks protocol 1, this offrampd speaks 2"
    );
    assert!(told(frame(&Response::Done)).contains("an answer to another question: Done"));
    assert!(told([&4u32.to_be_bytes()[..], b"nope"].concat()).contains("another release"));
}

#[test]
fn a_daemon_that_hangs_up_or_babbles_is_away() {
    for answer in [vec![], vec![0, 0], 9u32.to_be_bytes().to_vec(), u32::MAX.to_be_bytes().to_vec()] {
        let error = answered(answer).unwrap_err();
        assert!(error.is_away() && error.to_string().starts_with("talk to offrampd at "), "{error}");
    }
}

#[test]
fn a_socket_without_a_listener_is_a_daemon_that_is_not_running() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    drop(UnixListener::bind(&socket).unwrap());
    let error = Client::new(&socket).status().unwrap_err();
    assert!(error.is_away());
    let text = error.to_string();
    assert!(text.starts_with("offrampd is not running on this node (connect "), "{text}");
    assert!(
        text.contains("Connection refused") && text.contains("\nStart it: offrampd run --config "),
        "{text}"
    );
}
