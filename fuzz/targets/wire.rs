//! A frame on the daemon's socket: a request, an answer, and the length before it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use offramp_core::wire::{Envelope, MAX_FRAME, Response, frame_header, frame_len};
use offramp_fuzz::is_presentable;

fuzz_target!(|data: &[u8]| {
    match Envelope::parse(data) {
        Ok(envelope) => {
            let json = serde_json::to_vec(&envelope).expect("a request is JSON");
            assert_eq!(Envelope::parse(&json).expect("our own request"), envelope);
        }
        Err(e) => is_presentable(&e),
    }
    if let Ok(response) = serde_json::from_slice::<Response>(data) {
        let json = serde_json::to_vec(&response).expect("an answer is JSON");
        assert_eq!(serde_json::from_slice::<Response>(&json).expect("our own answer"), response);
    }
    if let Some(header) = data.first_chunk::<4>() {
        match frame_len(*header) {
            Ok(len) => {
                assert!(len <= MAX_FRAME);
                assert_eq!(frame_header(len), Ok(*header));
            }
            Err(e) => is_presentable(&e),
        }
    }
});
