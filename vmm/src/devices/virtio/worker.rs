//! The thread that serves one queue.
//!
//! It lives as long as its transport, so that a guest that resets its device in a loop makes no threads, and so that no
//! vCPU's thread must be allowed to make any. It makes these system calls while it serves, beside its handler's: read
//! and write of eventfds, futex, clock_gettime, and what an allocator needs.

use super::interrupt::Interrupt;
use super::poll::Poll;
use super::queue::{Broken, Chain, VirtQueue};
use super::{Handler, OnStart};
use crate::error::{Error, Result};
use crate::log::log;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use virtio_queue::Queue;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

/// Answers are made known to the driver at least this often while more requests wait: each interrupt costs the guest
/// two exits, but what is answered should not wait for long.
const BATCH: u32 = 32;
/// The same in bytes.
const BATCH_BYTES: usize = 512 << 10;

/// What a worker needs to serve a queue.
pub(crate) struct Job {
    /// The queue as its driver has set it up.
    pub queue: Queue,
    /// Where it is.
    pub memory: GuestMemoryMmap,
    /// What the driver accepted.
    pub features: u64,
    /// Who hears of answers.
    pub interrupt: Arc<Interrupt>,
}

enum State {
    Idle,
    Ordered(Box<Job>),
    Busy,
    Quit,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
    event: EventFd,
}

/// A handle to the thread.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread. `event` is the queue's notification, a blocking eventfd: waiting for it and for the end is
    /// one system call.
    pub fn spawn(name: &str, event: EventFd, mut handler: Box<dyn Handler>, on_start: OnStart) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Idle),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            event,
        });
        let (device, inner) = (name.to_owned(), shared.clone());
        // Before `on_start`, which may take the right to ask for the number of CPUs away.
        let mut poll = calibrate(&shared.event);
        let run = move || {
            on_start();
            let mut times = 0_u64;
            while let Some(job) = inner.next_job() {
                let _done = Done(&inner);
                if let Err(broken) = serve(&job, &mut *handler, &inner, &mut poll) {
                    // A guest can do so in a loop: the log is told each time that the number has doubled.
                    times = times.saturating_add(1);
                    if times.is_power_of_two() {
                        log!("{device}: {broken}; it stands still until it is reset (time {times})");
                    }
                    job.interrupt.need_reset();
                }
            }
        };
        let builder = std::thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(run).map_err(Error::host(format!("cannot start the thread of {name}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Serves a queue from now on. What it served before has been stopped.
    pub fn start(&self, job: Job) {
        let mut state = self.shared.lock();
        if matches!(*state, State::Idle) {
            *state = State::Ordered(Box::new(job));
            self.shared.changed.notify_all();
        }
    }

    /// Stops serving. When it returns, guest memory and the disk are left alone.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        if matches!(*state, State::Ordered(_)) {
            *state = State::Idle;
        }
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.shared.event.write(1);
        while matches!(*state, State::Busy) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.shared.stop.store(false, Ordering::Release);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
        *self.shared.lock() = State::Quit;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_job(&self) -> Option<Box<Job>> {
        let mut state = self.lock();
        loop {
            match std::mem::replace(&mut *state, State::Busy) {
                State::Ordered(job) => return Some(job),
                State::Quit => return None,
                other => *state = other,
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Says that a job is over, however it ended: whoever waits in `stop` must not wait for ever.
struct Done<'a>(&'a Shared);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        *self.0.lock() = State::Idle;
        self.0.changed.notify_all();
    }
}

/// What the system calls of a wake-up cost here.
fn calibrate(event: &EventFd) -> Poll {
    const ROUNDS: u32 = 8;
    let before = Instant::now();
    for _ in 0..ROUNDS {
        let _ = event.write(1).and_then(|()| event.read());
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Poll::new(before.elapsed() / ROUNDS, cpus)
}

/// Serves a queue until it is told to stop.
fn serve(job: &Job, handler: &mut dyn Handler, shared: &Shared, poll: &mut Poll) -> std::result::Result<(), Broken> {
    let queue = Queue::try_from(job.queue.state())?;
    let mut queue = VirtQueue::new(queue, &job.memory)?;
    let mut chain = Chain::default();
    let mut idle_since = None;
    while !shared.stop.load(Ordering::Acquire) {
        queue.disable_notifications()?;
        if queue.has_next() {
            if let Some(since) = idle_since {
                poll.learn(Instant::elapsed(&since));
            }
            drain(&mut queue, &mut chain, handler, job, &shared.stop)?;
            idle_since = None;
        }
        let since = *idle_since.get_or_insert_with(Instant::now);
        if poll.watch(since, || queue.has_next() || shared.stop.load(Ordering::Relaxed))
            || queue.enable_notifications()?
        {
            continue;
        }
        if shared.event.read().is_err() {
            // Nothing that a retry would mend; and a loop would spin.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Answers what is available. Other than `stop`, nothing but the guest's pace bounds it.
pub(crate) fn drain<'m>(
    queue: &mut VirtQueue<'m>,
    chain: &mut Chain<'m>,
    handler: &mut dyn Handler,
    job: &Job,
    stop: &AtomicBool,
) -> std::result::Result<(), Broken> {
    let (mut answers, mut bytes) = (0, 0);
    while !stop.load(Ordering::Acquire) && queue.pop(chain)? {
        let written = handler.handle(chain, job.features)?;
        queue.push(chain, written)?;
        answers += 1;
        bytes += chain.readable.len() + chain.writable.len();
        if answers == BATCH || bytes >= BATCH_BYTES {
            if queue.wants_interrupt()? {
                job.interrupt.used();
            }
            (answers, bytes) = (0, 0);
        }
    }
    if answers > 0 && queue.wants_interrupt()? {
        job.interrupt.used();
    }
    Ok(())
}
