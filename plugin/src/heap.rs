//! dlmalloc behind a lock of one byte. Its own is a pthread mutex, which was a tenth of the instructions of an ADD; the
//! plugin has one thread, but for some that do nothing but wait for a child.

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// The heap.
pub struct Heap {
    busy: AtomicBool,
    inner: UnsafeCell<Dlmalloc>,
}

// SAFETY: `inner` is used by whoever has made `busy` true, and nobody else.
unsafe impl Sync for Heap {}

impl Heap {
    pub const fn new() -> Self {
        Self { busy: AtomicBool::new(false), inner: UnsafeCell::new(Dlmalloc::new()) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: `busy` was false, so nobody else has it, and `work`, which does not allocate, does not come back here.
        let result = work(unsafe { &mut *self.inner.get() });
        self.busy.store(false, Ordering::Release);
        result
    }
}

// SAFETY: dlmalloc keeps the promises of an allocator; the caller's are passed on to it.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout is not of size zero.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller has it from here, by this layout.
        self.with(|heap| unsafe { heap.free(ptr, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; the size is not zero.
        self.with(|heap| unsafe { heap.realloc(ptr, layout.size(), layout.align(), size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_never_share() {
        static HEAP: Heap = Heap::new();
        std::thread::scope(|scope| {
            for mark in 1..=4u8 {
                scope.spawn(move || {
                    for round in 0..20_000usize {
                        let layout = Layout::from_size_align(1 + round % 400, 8).unwrap();
                        // SAFETY: the pointer is used with the layout that it has, until it is given back.
                        unsafe {
                            let ptr = HEAP.alloc(layout);
                            ptr.write_bytes(mark, layout.size());
                            let ptr = HEAP.realloc(ptr, layout, 2 * layout.size());
                            let kept = std::slice::from_raw_parts(ptr, layout.size());
                            assert!(kept.iter().all(|byte| *byte == mark));
                            let twice = Layout::from_size_align(2 * layout.size(), 8).unwrap();
                            HEAP.dealloc(ptr, twice);
                            let zeros = HEAP.alloc_zeroed(layout);
                            assert!(std::slice::from_raw_parts(zeros, layout.size()).iter().all(|b| *b == 0));
                            HEAP.dealloc(zeros, layout);
                        }
                    }
                });
            }
        });
    }
}
