use super::*;
use nix::sys::stat::Mode;
use std::fs::{File, TryLockError};
use std::io::Read;

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_is_written_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attribute");
    File::create(&path).unwrap();
    assert_eq!(write(&path, "igbvf\n", LONG, &[]).unwrap(), Written::Done);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "igbvf\n");
}

#[test]
fn a_refusal_names_the_file_the_value_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attribute");
    let error = write(&path, "1", LONG, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("write \"1\" to {}: No such file or directory (2)", path.display())
    );
    let error = write(Path::new("/dev/full"), "1", LONG, &[]).unwrap_err();
    assert_eq!(error.to_string(), "write \"1\" to /dev/full: No space left on device (28)");
}

/// A FIFO without a reader blocks its writer, as a driver would.
#[test]
fn what_hangs_keeps_its_locks_goes_on_and_leaves_no_zombie() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, lock) = (dir.path().join("fifo"), dir.path().join("lock"));
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let (held, not_kept) = (File::create(&lock).unwrap(), File::create(dir.path().join("other")).unwrap());
    held.try_lock().unwrap();

    let Written::Stuck { pid } = write(&fifo, "late", SOON, &[held.as_fd()]).unwrap() else {
        panic!("a FIFO without a reader takes nothing")
    };
    let open = || -> Vec<_> {
        let all = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        all.flat_map(|fd| std::fs::read_link(fd.path())).collect()
    };
    // On a busy machine it is still closing what it was born with.
    crate::wait::until(|| format!("few open files: {:?}", open()), || Ok(open().len() <= 4)).unwrap();
    let open = open();
    let null = Path::new("/dev/null").to_owned();
    assert_eq!(open.len(), 4, "{open:?}");
    assert_eq!(open.iter().filter(|path| **path == null).count(), 3, "{open:?}");
    assert!(open.contains(&lock), "{open:?}");
    drop((held, not_kept));
    let again = File::open(&lock).unwrap();
    assert!(matches!(again.try_lock(), Err(TryLockError::WouldBlock)));

    let mut late = String::new();
    File::open(&fifo).unwrap().read_to_string(&mut late).unwrap();
    assert_eq!(late, "late");
    let process = format!("/proc/{pid}");
    crate::wait::until(|| format!("the end of {process}"), || Ok(!Path::new(&process).exists())).unwrap();
    again.try_lock().unwrap();
}

/// A socket whose other end reads nothing.
#[test]
fn what_is_sent_may_hang_as_well() {
    use std::os::unix::net::UnixStream;
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let (what, long) = ("ask", vec![7; 16 << 20]);
    assert_eq!(send(what, writer.as_fd(), b"short", LONG, &[]).unwrap(), Written::Done);
    let lock = tempfile::tempfile().unwrap();
    let Written::Stuck { pid } = send(what, writer.as_fd(), &long, SOON, &[lock.as_fd()]).unwrap() else {
        panic!("more than a socket's buffer")
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(open, 5, "streams, the socket, the lock");
    drop(writer);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), &all[..5]), (5 + long.len(), &b"short"[..]));
    let (_, closed) = UnixStream::pair().unwrap();
    assert!(
        send(what, closed.as_fd(), b"x", LONG, &[]).unwrap_err().to_string().starts_with("ask: Broken pipe")
    );
}

#[test]
fn a_stuck_write_is_an_error_where_it_must_be_through() {
    assert!(Written::Done.within("unbind", SOON).is_ok());
    let error = Written::Stuck { pid: 7 }.within("unbind 0000:01:10.2", SOON).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unbind 0000:01:10.2: it hangs in the kernel for more than 50ms, process 7 goes on with it"
    );
}

#[test]
fn all_is_closed_but_what_is_kept() {
    let fd = |n| {
        // SAFETY: it is only read as a number.
        unsafe { BorrowedFd::borrow_raw(n) }
    };
    assert_eq!(gaps(&[]), [(3, u32::MAX)]);
    assert_eq!(gaps(&[fd(7), fd(3), fd(4), fd(7), fd(1)]), [(5, 6), (8, u32::MAX)]);
}
