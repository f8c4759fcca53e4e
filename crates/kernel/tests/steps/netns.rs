//! Paths that do not lead to a network namespace.

use nix::sys::stat::Mode;
use offramp_kernel::{Error, Netns};
use std::path::Path;

fn refusal(path: impl AsRef<Path>) -> (String, bool) {
    match Netns::open(path.as_ref()).unwrap_err() {
        Error::Netns { why, gone, .. } => (why, gone),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_no_network_namespace_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, fifo) = (dir.path().join("file"), dir.path().join("fifo"));
    std::fs::write(&file, "").unwrap();
    // Nobody writes to it: opening it must not wait.
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR).unwrap();
    for path in [&file, &fifo, dir.path(), Path::new("/dev/null")] {
        assert_eq!(refusal(path), ("it is not a namespace, but a file".into(), false), "{}", path.display());
    }
    let (why, gone) = refusal("/proc/self/ns/mnt");
    assert_eq!((why.as_str(), gone), ("it is a namespace of another kind", false));
}

#[test]
fn a_path_to_nothing_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [dir.path().join("none"), file.join("below"), "".into(), "/proc/4194304/ns/net".into()] {
        let (why, gone) = refusal(&path);
        assert!(gone, "{}: {why}", path.display());
    }
}

#[test]
fn a_namespace_is_known_by_its_inode_wherever_it_is_found() {
    let here = Netns::current().unwrap();
    assert_eq!(Netns::open("/proc/self/ns/net").unwrap().inode(), here.inode());
    crate::lab::enter();
    assert_ne!(Netns::current().unwrap().inode(), here.inode());
    let inside = here.inside(Netns::current).unwrap();
    assert_eq!(inside.inode(), here.inode());
}
