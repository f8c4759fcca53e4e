//! The measuring itself: fill the nodes, then rounds and bursts of all subjects, interleaved.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::limits;
use crate::options::Options;
use crate::process::{cpu_so_far, measure_peak_rss, resident, run as run_process};
use crate::report::{Machine, Report, Row};
use crate::stats::Series;
use crate::subject::{Pod, Stack, Subject};

/// A burst: so many pods, so many at a time.
pub const BURST: usize = 100;
const BURST_WIDTH: usize = 8;
/// BR_MAX_PORTS of net/bridge/br_private.h, less the port 0 that it never gives.
const BRIDGE_PORTS: usize = 1023;
/// Rounds before those that count.
const WARM_UP: usize = 3;
/// After each ADD and DEL: what the kernel does later must not fall on the next subject.
const PAUSE: Duration = Duration::from_millis(40);
/// After many at once: multicast reports of new pods go on for seconds.
const LONG_PAUSE: Duration = Duration::from_secs(3);

/// What is measured of one subject at one size.
#[derive(Default)]
pub struct Tally {
    pub add: Series,
    pub del: Series,
    pub cpu: Series,
    pub burst_add: Series,
    pub burst_del: Series,
    pub peak_rss: u64,
    pub daemon_rss: Option<u64>,
}

/// A subject, its pods that stay, and the slots of those that come and go.
struct Bench {
    subject: Subject,
    present: Vec<Pod>,
    first_spare: usize,
}

/// Measures everything the options ask for.
pub fn run(options: &Options) -> Result<Report, String> {
    // The nodes of the first run stay until the end: the kernel's clearing up would disturb the second.
    let (dual_rows, _nodes) = run_stack(options, Stack::Dual, &options.pods[..1])?;
    let (mut rows, _more_nodes) = run_stack(options, Stack::Ipv4, &options.pods)?;
    rows.extend(dual_rows);
    let limits = limits::judge(&rows);
    Ok(Report { machine: Machine::read()?, rounds: options.rounds, bursts: options.bursts, rows, limits })
}

fn run_stack(options: &Options, stack: Stack, sizes: &[usize]) -> Result<(Vec<Row>, Vec<Bench>), String> {
    let largest = sizes.last().copied().unwrap_or(0);
    let mut benches = Vec::new();
    for kind in &options.subjects {
        eprintln!("{stack}: {} pod namespaces for {}", largest + BURST, kind.title());
        let subject = Subject::new(*kind, stack, largest + BURST, &options.programs)?;
        benches.push(Bench { subject, present: Vec::new(), first_spare: largest });
    }
    let mut rows = Vec::new();
    for size in sizes {
        for bench in &mut benches {
            bench.fill(*size)?;
        }
        sleep(LONG_PAUSE);
        let tallies = measure_size(options, &mut benches)?;
        let named = benches.iter().zip(tallies);
        rows.extend(named.map(|(bench, tally)| Row::new(bench.subject.kind, stack, *size, tally)));
    }
    Ok((rows, benches))
}

/// Rounds first, then bursts. Each begins with another subject than the one before.
fn measure_size(options: &Options, benches: &mut [Bench]) -> Result<Vec<Tally>, String> {
    let mut tallies: Vec<Tally> = benches.iter().map(|_| Tally::default()).collect();
    let size = benches.first().map_or(0, |bench| bench.present.len());
    eprintln!("{size} pods: {} rounds", options.rounds);
    for round in 0..WARM_UP + options.rounds {
        for index in rotated(benches.len(), round) {
            let mut ignored = Tally::default();
            let tally = if round < WARM_UP { &mut ignored } else { &mut tallies[index] };
            benches[index].round(round, tally)?;
        }
    }
    eprintln!("{size} pods: {} bursts of {BURST}", options.bursts);
    for burst in 0..options.bursts {
        for index in rotated(benches.len(), burst) {
            benches[index].burst(&mut tallies[index])?;
            sleep(LONG_PAUSE / 3);
        }
    }
    for (bench, tally) in benches.iter_mut().zip(&mut tallies) {
        bench.memory(tally)?;
    }
    Ok(tallies)
}

fn rotated(count: usize, by: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| (index + by) % count)
}

impl Bench {
    /// Adds pods until `size` are present, by the subject itself: its records are there too.
    fn fill(&mut self, size: usize) -> Result<(), String> {
        let start = Instant::now();
        let missing: Vec<usize> = (self.present.len()..size).collect();
        let count = missing.len();
        self.present.extend(self.add_many(missing)?.1);
        eprintln!("{} pods: filled for {}, {:.1?}", count, self.subject.kind.title(), start.elapsed());
        Ok(())
    }

    /// One ADD and one DEL, timed.
    fn round(&mut self, round: usize, tally: &mut Tally) -> Result<(), String> {
        let subject = &self.subject;
        let (add, mut pod) = subject.add(self.first_spare + round % BURST);
        subject.node.run(|| {
            let daemon_before = subject.daemon().map(cpu_so_far).transpose()?;
            let added = run_process(&add)?;
            sleep(PAUSE);
            pod.remember(added.stdout);
            let deleted = run_process(&subject.del(&pod))?;
            sleep(PAUSE);
            let daemon_after = subject.daemon().map(cpu_so_far).transpose()?;

            let daemon = daemon_after.unwrap_or_default() - daemon_before.unwrap_or_default();
            tally.add.push(ms(added.wall));
            tally.del.push(ms(deleted.wall));
            tally.cpu.push(ms(added.cpu + deleted.cpu + daemon));
            Ok(())
        })
    }

    /// A burst of ADDs and one of DELs; on a bridge too full for more, of pods that were present.
    fn burst(&mut self, tally: &mut Tally) -> Result<(), String> {
        let crowded = self.present.len() + BURST > BRIDGE_PORTS;
        if crowded {
            let leaving = self.present.split_off(self.present.len() - BURST);
            let slots = leaving.iter().map(Pod::slot).collect();
            tally.burst_del.push(ms(self.del_many(leaving)?));
            sleep(LONG_PAUSE / 3);
            let (time, pods) = self.add_many(slots)?;
            tally.burst_add.push(ms(time));
            self.present.extend(pods);
        } else {
            let (time, pods) = self.add_many((self.first_spare..self.first_spare + BURST).collect())?;
            tally.burst_add.push(ms(time));
            sleep(LONG_PAUSE / 3);
            tally.burst_del.push(ms(self.del_many(pods)?));
        }
        Ok(())
    }

    /// The peak memory of ADD and DEL, in calls that are not timed, and what the daemon holds now.
    fn memory(&mut self, tally: &mut Tally) -> Result<(), String> {
        let subject = &self.subject;
        let (add, mut pod) = subject.add(self.first_spare);
        subject.node.run(|| {
            let (add_peak, done) = measure_peak_rss(&add)?;
            pod.remember(done.stdout);
            let (del_peak, _) = measure_peak_rss(&subject.del(&pod))?;
            tally.peak_rss = add_peak.max(del_peak);
            tally.daemon_rss = subject.daemon().map(resident).transpose()?;
            Ok(())
        })
    }

    fn add_many(&self, slots: Vec<usize>) -> Result<(Duration, Vec<Pod>), String> {
        self.many(slots, |slot| {
            let (call, mut pod) = self.subject.add(slot);
            pod.remember(run_process(&call)?.stdout);
            Ok(pod)
        })
    }

    fn del_many(&self, pods: Vec<Pod>) -> Result<Duration, String> {
        self.many(pods, |pod| run_process(&self.subject.del(&pod))).map(|(time, _)| time)
    }

    /// Does `work` on every item, `BURST_WIDTH` at a time, on the node: the time from the first to the last.
    fn many<I: Send, O: Send>(
        &self,
        items: Vec<I>,
        work: impl Fn(I) -> Result<O, String> + Sync,
    ) -> Result<(Duration, Vec<O>), String> {
        let count = items.len();
        let queue = Mutex::new(items.into_iter());
        let (done, ready) = (AtomicUsize::new(0), Barrier::new(BURST_WIDTH + 1));
        let worker = || -> Result<Vec<O>, String> {
            let entered = self.subject.node.enter();
            ready.wait();
            entered?;
            let mut results = Vec::new();
            while let Some(item) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                results.push(work(item)?);
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(results)
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..BURST_WIDTH).map(|_| scope.spawn(worker)).collect();
            ready.wait();
            let start = Instant::now();
            let mut results = Vec::with_capacity(count);
            for worker in workers {
                results.extend(worker.join().map_err(|_| "a worker panicked")??);
            }
            Ok((start.elapsed(), results))
        })
    }
}

/// Milliseconds.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
