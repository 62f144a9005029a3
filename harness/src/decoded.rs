//! A finding's stack with file, line and inlined functions: where the [`oracle`](crate::oracle) and
//! [`symbolize`](crate::symbolize) meet.

use crate::cache::Cache;
use crate::oracle::{Finding, Frame};
use crate::symbolize::{Excerpt, Identity, Place, Query, Symbolizer, Unresolved, Verdict, Vmlinux};
use serde::Serialize;
use serde_json::to_value;
use std::fmt::Write;
use std::path::PathBuf;

/// A frame with what the vmlinux says of it.
#[derive(Debug, Clone, Serialize)]
struct InSource {
    #[serde(flatten)]
    frame: Frame,
    #[serde(flatten)]
    place: Option<Place>,
    /// Why it has no place.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved: Option<String>,
}

/// Whether the vmlinux is that of the log.
#[derive(Debug, Clone, Serialize)]
struct Match {
    vmlinux: PathBuf,
    /// By what they match: `build id`, `banner`, or merely the `release`.
    #[serde(skip_serializing_if = "Option::is_none")]
    same: Option<&'static str>,
    /// Why they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    different: Option<String>,
}

/// A finding's frames with what the vmlinux says of them.
#[derive(Debug, Clone)]
pub struct Symbolized {
    frames: Vec<InSource>,
    symbols: Match,
    guilty: Option<usize>,
    excerpt: Option<String>,
}

/// A vmlinux in use.
#[derive(Debug)]
pub struct Symbols<'f> {
    file: &'f Vmlinux,
    symbolizer: Symbolizer<'f>,
    source: Option<PathBuf>,
}

impl<'f> Symbols<'f> {
    /// Without a `cache` everything is resolved anew. `source` is the kernel's tree; else it is looked for where the
    /// vmlinux was built.
    pub fn new(file: &'f Vmlinux, cache: Option<&Cache>, source: Option<PathBuf>) -> Self {
        Self { file, symbolizer: Symbolizer::new(file, cache), source }
    }

    /// Which kernel the vmlinux is.
    pub fn identity(&self) -> &Identity {
        self.symbolizer.identity()
    }

    /// Resolves the frames of a finding, whose log is of the vmlinux's kernel as far as `verdict` says.
    pub fn apply(&mut self, finding: &Finding, verdict: Verdict) -> Symbolized {
        let (same, mut different) = match verdict {
            Verdict::Same(by) => (Some(by), None),
            Verdict::Different(why) => (None, Some(why)),
            Verdict::Unknown => (None, None),
        };
        let resolved: Vec<_> = finding
            .frames
            .iter()
            .filter(|_| different.is_none())
            .map(|frame| (!frame.inline).then(|| self.symbolizer.resolve(&query(frame))))
            .collect();
        // Function sizes change from build to build even where the names of the kernels do not.
        let other = resolved.iter().flatten().filter(|r| matches!(r, Err(Unresolved::OtherSize { .. }))).count();
        let fine = resolved.iter().flatten().filter(|r| r.is_ok()).count();
        let by_size = other > fine && same != Some("build id");
        if by_size {
            different = Some(format!("{other} of its functions have other sizes in the vmlinux"));
        }
        let guilty = finding.guilty.as_deref().and_then(|name| {
            let is =
                |f: &Frame| f.function.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            finding.frames.iter().position(is)
        });
        let mut resolved = resolved.into_iter();
        let frames: Vec<_> = finding
            .frames
            .iter()
            .map(|frame| {
                let (place, unresolved) = match resolved.next().flatten() {
                    // What fits by accident would be as wrong as the rest.
                    Some(Ok(place)) if !by_size => (Some(place), None),
                    Some(Err(why)) => (None, Some(why.to_string())),
                    _ => (None, None),
                };
                InSource { frame: frame.clone(), place, unresolved }
            })
            .collect();
        let excerpt = guilty.and_then(|at| self.excerpt(frames[at].place.as_ref()?));
        let symbols = Match { vmlinux: self.file.path().to_owned(), same: same.filter(|_| !by_size), different };
        Symbolized { frames, symbols, guilty, excerpt }
    }

    /// The lines around a place, or why there are none; nothing where no tree is at hand.
    fn excerpt(&self, place: &Place) -> Option<String> {
        let (file, line) = place.telling()?;
        let root = self.source.clone().or_else(|| self.symbolizer.source())?;
        Some(match Excerpt::read(&root, file, line, self.file.modified()) {
            Ok(excerpt) => format!("{file}:{line}\n{excerpt}"),
            Err(e) => format!("no source: {e:#}\n"),
        })
    }

    /// Keeps what was resolved for the next time.
    pub fn save(&mut self) {
        if let Err(e) = self.symbolizer.save() {
            tracing::warn!("the symbols will be resolved anew the next time: {e:#}");
        }
    }
}

impl Symbolized {
    /// Puts it into a finding's JSON: `symbols`, and `file`, `line` and `inlines` in its `frames`.
    pub fn put_into(&self, finding: &mut serde_json::Value) -> serde_json::Result<()> {
        for (key, value) in [("frames", to_value(&self.frames)?), ("symbols", to_value(&self.symbols)?)] {
            finding[key] = value;
        }
        Ok(())
    }

    /// Whether any frame has a place.
    pub fn is_of_use(&self) -> bool {
        self.frames.iter().any(|frame| frame.place.is_some())
    }

    /// A line a frame; the guilty one is marked `>` and has its source below it, those that may be stale are marked `?`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(why) = &self.symbols.different {
            let _ = writeln!(text, "    symbols do not match: {why}");
        } else if self.symbols.same.is_none() {
            text.push_str("    symbols may not match: the log, or the vmlinux, does not say which kernel it is of\n");
        }
        for line in self.lines() {
            text.push_str(&line.text);
            text.push('\n');
            for line in line.source.unwrap_or_default().lines() {
                let _ = writeln!(text, "      {line}");
            }
        }
        text
    }

    /// The frames, as lines.
    pub fn lines(&self) -> Vec<Line<'_>> {
        self.frames.iter().enumerate().map(|(at, frame)| self.line(at, frame)).collect()
    }

    fn line(&self, at: usize, InSource { frame, place, unresolved }: &InSource) -> Line<'_> {
        let guilty = self.guilty == Some(at);
        let mark = if guilty {
            '>'
        } else if frame.unreliable {
            '?'
        } else {
            ' '
        };
        let mut text = format!("  {mark} {}", frame.function);
        if let (Some(offset), Some(size)) = (frame.offset, frame.size) {
            let _ = write!(text, "+{offset:#x}/{size:#x}");
        }
        if let Some(module) = &frame.module {
            let _ = write!(text, " [{module}]");
        }
        let _ = match (place, unresolved, &frame.source) {
            (Some(place), ..) => write!(text, " {place}"),
            (None, Some(why), _) if frame.source.is_none() => write!(text, " ({why})"),
            (.., Some(source)) => write!(text, " {source}"),
            _ => Ok(()),
        };
        Line { text, guilty, source: self.excerpt.as_deref().filter(|_| guilty) }
    }
}

/// A frame of a [`Symbolized`], as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'s> {
    /// The frame and its place: two blanks and a mark first.
    pub text: String,
    /// Whether it is the one to blame.
    pub guilty: bool,
    /// Lines of its source, where they are at hand.
    pub source: Option<&'s str>,
}

fn query(frame: &Frame) -> Query<'_> {
    Query {
        function: &frame.function,
        offset: frame.offset,
        size: frame.size,
        module: frame.module.as_deref(),
        exact: frame.ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;
    use crate::symbolize::small_kernel::{in_work, kernel};
    use crate::symbolize::Identities;

    const RELEASE: &str = "6.1.0-test #1";

    /// A log of the small kernel: a BUG in what was inlined into `work`, called by `work`.
    fn log(file: &Vmlinux, release: &str, frames: &str) -> String {
        let (rip, size) = in_work(file, "mark_rip");
        format!(
            "------------[ cut here ]------------\nkernel BUG at mm/work.c:9!\ninvalid opcode: 0000 [#1] SMP NOPTI\n\
             CPU: 1 PID: 100 Comm: torture Not tainted {release}\nRIP: 0010:work+{rip:#x}/{size:#x}\nCall Trace:\n\
             <TASK>\n work+{size:#x}/{size:#x}\n ? absent+0x1/0x2\n{frames} </TASK>\n\
             ---[ end trace 0000000000000000 ]---\n"
        )
    }

    /// What is said of the log's only finding, as text and as JSON.
    fn said(file: &Vmlinux, log: &str) -> (String, serde_json::Value) {
        let mut symbols = Symbols::new(file, None, None);
        let finding = oracle::scan(log.as_bytes()).swap_remove(0);
        let mut names = Identities::default();
        names.feed(log.as_bytes());
        let symbolized = symbols.apply(&finding, names.at(finding.end_byte).compare(symbols.identity()));
        let mut json = to_value(&finding).unwrap();
        symbolized.put_into(&mut json).unwrap();
        (symbolized.text(), json)
    }

    #[test]
    fn frames_get_lines_and_the_guilty_one_its_source() {
        let Some((_dir, path)) = kernel(&[]) else { return };
        let file = Vmlinux::open(&path).unwrap();
        let (text, json) = said(&file, &log(&file, RELEASE, " foo+0x1/0x2 [zram]\n"));
        let (rip, size) = in_work(&file, "mark_rip");
        let expected =
            format!("  > work+{rip:#x}/{size:#x} mm/work.c:21 (inlined: inner mm/work.c:9)\n      mm/work.c:9\n");
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("      >      9          asm volatile(\"mark_rip: nop\");\n"), "{text}");
        assert!(text.contains(&format!("    work+{size:#x}/{size:#x} mm/work.c:22\n")), "{text}");
        assert!(text.contains("  ? absent+0x1/0x2 (no such function in the vmlinux)\n"), "{text}");
        assert!(text.ends_with("foo+0x1/0x2 [zram] (in module zram, whose symbols are not in vmlinux)\n"), "{text}");
        assert_eq!(json["symbols"]["same"], "release");
        let frame = &json["frames"][0];
        assert_eq!((&frame["file"], &frame["line"]), (&"mm/work.c".into(), &21.into()));
        assert_eq!(frame["inlines"], serde_json::json!([{"function": "inner", "file": "mm/work.c", "line": 9}]));
        assert_eq!(json["frames"][2]["unresolved"], "no such function in the vmlinux");
        assert_eq!((&json["title"], &json["frames"][2]["unreliable"]), (&"kernel BUG in work".into(), &true.into()));
    }

    #[test]
    fn another_kernels_symbols_are_not_shown() {
        let Some((_dir, path)) = kernel(&[]) else { return };
        let file = Vmlinux::open(&path).unwrap();
        let (text, json) = said(&file, &log(&file, "6.1.0-test #2", ""));
        let why = "the log is of 6.1.0-test #2, the vmlinux is 6.1.0-test #1 SMP now";
        assert!(text.starts_with(&format!("    symbols do not match: {why}")), "{text}");
        assert!(json["symbols"]["different"].as_str().unwrap().starts_with(why));
        assert!(json["frames"][0]["file"].is_null() && !text.contains("mm/work.c:21"));
        // Nobody says.
        let (text, json) = said(&file, &log(&file, "", ""));
        assert!(text.starts_with("    symbols may not match: the log") && text.contains("mm/work.c:21"), "{text}");
        assert_eq!((&json["symbols"]["same"], &json["symbols"]["different"]), (&().into(), &().into()));
        // The names agree, the functions do not.
        let frames = " start_kernel+0x1/0x9000\n probe+0x1/0x9000\n die+0x1/0x9000\n";
        let (text, json) = said(&file, &log(&file, RELEASE, frames));
        assert!(text.starts_with("    symbols do not match: 3 of its functions have other sizes"), "{text}");
        assert!(json["frames"][0]["file"].is_null() && json["symbols"]["same"].is_null());
    }
}
