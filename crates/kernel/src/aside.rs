//! Work that a thread of its own does, since it sits in the kernel for long: threads that are through with one wait for
//! the next, because starting one costs more than what it is started for.

use std::io;
use std::sync::mpsc::{SendError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many threads wait for work when there is none.
const MAX_IDLE: usize = 8;
const STACK: usize = 256 << 10;

type Work = Box<dyn FnOnce() + Send>;

static IDLE: Mutex<Vec<SyncSender<Work>>> = Mutex::new(Vec::new());

/// Has `work` done in another thread, whose network namespace may be any: sockets must be opened before.
pub(crate) fn run(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let waiting = idle().pop();
    let Some(thread) = waiting else { return start(Box::new(work)) };
    match thread.send(Box::new(work)) {
        Ok(()) => Ok(()),
        Err(SendError(work)) => start(work), // it has panicked
    }
}

fn start(work: Work) -> io::Result<()> {
    std::thread::Builder::new().name("aside".into()).stack_size(STACK).spawn(|| serve(work)).map(drop)
}

fn serve(mut work: Work) {
    let (this, next) = sync_channel(1);
    loop {
        work();
        let mut idle = idle();
        if idle.len() == MAX_IDLE {
            return;
        }
        idle.push(this.clone());
        drop(idle);
        work = match next.recv() {
            Ok(work) => work,
            Err(_) => return,
        };
    }
}

fn idle() -> MutexGuard<'static, Vec<SyncSender<Work>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};
    use std::thread::ThreadId;

    fn thread_of_one() -> ThreadId {
        let (tell, told) = sync_channel(1);
        run(move || tell.send(std::thread::current().id()).unwrap()).unwrap();
        told.recv().unwrap()
    }

    #[test]
    fn work_is_done_at_once_and_its_thread_is_used_again() {
        // More at a time than may wait afterwards: none waits for another to end.
        let all = MAX_IDLE + 4;
        let together = Arc::new(Barrier::new(all + 1));
        for _ in 0..all {
            let together = together.clone();
            run(move || {
                together.wait();
            })
            .unwrap();
        }
        together.wait();
        while idle().len() < MAX_IDLE {
            std::thread::yield_now();
        }
        // A thread is back among the waiting only after its work: of more calls than threads some share one.
        let threads: std::collections::HashSet<ThreadId> = (0..100).map(|_| thread_of_one()).collect();
        assert!(threads.len() < 100, "{} threads", threads.len());
        assert!(idle().len() <= MAX_IDLE);
    }
}
