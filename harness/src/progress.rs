//! What a person sees while a command works: bars on a terminal, plain lines elsewhere. All of it goes to stderr.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// In plain lines a task says that it goes on at most so often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);

/// Shows what goes on.
#[derive(Debug)]
pub struct Progress {
    bars: Option<MultiProgress>,
    start: Instant,
}

impl Progress {
    /// Bars where stderr is a terminal, else lines.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { bars, start: Instant::now() }
    }

    /// Says something that stays.
    pub fn note(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => self.plain(text),
        }
    }

    /// Begins something that takes a while.
    pub fn task(&self, name: &str) -> Task<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template("{spinner} {prefix:<40} {wide_bar:.dim} {msg} {elapsed:>5}");
            let bar = bars.add(ProgressBar::new(1));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.plain(name);
        }
        Task { progress: self, name: name.to_owned(), bar, said: Mutex::new((Instant::now(), String::new())) }
    }

    fn plain(&self, text: &str) {
        eprintln!("[{:7.1}s] {text}", self.start.elapsed().as_secs_f64());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Something that takes a while.
pub struct Task<'a> {
    progress: &'a Progress,
    name: String,
    bar: Option<ProgressBar>,
    said: Mutex<(Instant, String)>,
}

impl Task<'_> {
    /// It is at `done` of `of` (unknown: `None`), doing `what`.
    pub fn at(&self, done: u64, of: Option<u64>, what: &str) {
        let counted = match of {
            Some(of) => format!("{what} {done}/{of}"),
            None if done > 0 => format!("{what} {done}"),
            None => what.to_owned(),
        };
        if let Some(bar) = &self.bar {
            // Estimates may fall short.
            bar.set_length(of.unwrap_or(0).max(done).max(1));
            bar.set_position(done);
            bar.set_message(counted);
            return;
        }
        let Ok(mut said) = self.said.lock() else { return };
        let new = said.1 != what;
        if new || said.0.elapsed() >= PLAIN_INTERVAL {
            *said = (Instant::now(), what.to_owned());
            self.progress.plain(&format!("{}: {counted}", self.name));
        }
    }

    /// It is over; `result` stays on the screen.
    pub fn finish(self, result: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress.note(&format!("{}: {result}", self.name));
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
