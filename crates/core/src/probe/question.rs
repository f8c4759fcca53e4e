//! What goes over the wire. A question is padded, so that an answer is never larger; an answer says which question it
//! answers, and nothing else. TCP carries messages with a length before them, each answered by its length.

/// The first bytes, of this protocol and this version: who does not know it is silent.
const MAGIC: [u8; 4] = *b"OFP1";
const ASKS: u8 = 1;
const ANSWERS: u8 = 2;

/// How many bytes an answer has.
pub const ANSWER: usize = 16;
/// The largest message over TCP that is read, in bytes.
pub const MAX_MESSAGE: u32 = 64 << 10;
/// The most bytes that are read from one connection.
pub const MAX_STREAM: u32 = 128 << 10;

/// How many bytes each of so many messages may have that are to fit into one segment, and into one connection together with
/// a message of [`MAX_MESSAGE`]: with a large MTU, less than a segment.
pub fn single(segment: u32, messages: u32) -> u32 {
    segment.min((MAX_STREAM - MAX_MESSAGE) / messages.max(1))
}

/// A question, and the answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Known to nobody else: an answer that was not asked for is none.
    pub nonce: u64,
    /// Which one of the round.
    pub number: u8,
}

impl Question {
    /// As it is sent, in `len` bytes; no less than an answer has.
    pub fn encode(self, len: usize) -> Vec<u8> {
        let mut bytes = self.head(ASKS).to_vec();
        // Not zero: the checksum is to have something to do.
        bytes.resize(len.max(ANSWER), 0xa5);
        bytes
    }

    /// The answer to what was received; none: it is no question.
    pub fn answer(received: &[u8]) -> Option<[u8; ANSWER]> {
        Some(Self::decode(received, ASKS)?.head(ANSWERS))
    }

    /// What a received answer answers.
    pub fn answered(received: &[u8]) -> Option<Self> {
        Self::decode(received, ANSWERS).filter(|_| received.len() == ANSWER)
    }

    fn head(self, kind: u8) -> [u8; ANSWER] {
        let mut head = [0; ANSWER];
        head[..4].copy_from_slice(&MAGIC);
        head[4] = kind;
        head[5] = self.number;
        head[8..].copy_from_slice(&self.nonce.to_be_bytes());
        head
    }

    fn decode(bytes: &[u8], kind: u8) -> Option<Self> {
        let head: &[u8; ANSWER] = bytes.first_chunk()?;
        let nonce = u64::from_be_bytes(*head.last_chunk()?);
        let question = Self { nonce, number: head[5] };
        (question.head(kind) == *head).then_some(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_answer_says_what_it_answers(nonce: u64, number: u8, len in 0usize..2000) {
            let question = Question { nonce, number };
            let asked = question.encode(len);
            let answer = Question::answer(&asked).unwrap();
            prop_assert_eq!(Question::answered(&answer), Some(question));
            prop_assert!(answer.len() <= asked.len());
            prop_assert_eq!(Question::answer(&answer), None, "two nodes do not answer each other for ever");
            prop_assert_eq!(Question::answered(&asked), None);
        }

        #[test]
        fn a_connection_holds_all_messages_whatever_the_segment_is(segment in 1u32..1 << 17, messages in 1u32..64) {
            let one = single(segment, messages);
            prop_assert!((1..=segment).contains(&one));
            prop_assert!(one * messages + MAX_MESSAGE <= MAX_STREAM);
            prop_assert!(one == segment || (one + 1) * messages + MAX_MESSAGE > MAX_STREAM, "no smaller than needed");
        }

        #[test]
        fn whatever_else_comes_is_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Question::answer(&bytes), None);
            prop_assert_eq!(Question::answered(&bytes), None);
        }
    }
}
