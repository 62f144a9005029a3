//! What a search for a commit came to, as `git bisect log` would tell it. Pure.

use super::{Conclusion, Tally};
use crate::git::Commit;
use std::fmt::Write;

/// One line of commits that was bisected.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The commit before the first one.
    pub start: &'a Commit,
    /// The commits in order.
    pub commits: &'a [Commit],
    /// What was seen of each: of the start, then of the commits.
    pub tallies: &'a [Tally],
    /// What it came to.
    pub conclusion: &'a Conclusion,
}

/// The log, which `git bisect replay` takes. A trial that passed does not show that a commit is good, so a commit that
/// was tried is called what the conclusion makes of it; one of which no trial said anything is skipped.
pub fn render(lines: &[Line<'_>], good: &Commit, bad: &Commit) -> String {
    // What git would look into on the other sides of a merge, we did not.
    let first_parent = lines.last().is_some_and(|line| culprit(line).is_some_and(|c| c.parents.len() > 2));
    let mut text = format!("git bisect start{}\n", if first_parent { " '--first-parent'" } else { "" });
    let mut told = vec![bad.id.as_str(), good.id.as_str()];
    let tell = |text: &mut String, word: &str, commit: &Commit| {
        let _ = writeln!(text, "# {word}: [{}] {}\ngit bisect {word} {0}", commit.id, commit.subject);
    };
    tell(&mut text, "bad", bad);
    tell(&mut text, "good", good);
    for line in lines {
        let (last_good, first_bad) = edges(line);
        let versions = std::iter::once(line.start).chain(line.commits).zip(line.tallies).enumerate();
        let (mut words, mut bad) = (Vec::new(), Vec::new());
        for (version, (commit, tally)) in versions {
            let tried = tally.hits + tally.clean > 0;
            if tried && version >= first_bad {
                bad.push(("bad", commit));
            } else if tried && version <= last_good {
                words.push(("good", commit));
            } else if !tried && tally.other > 0 {
                words.push(("skip", commit));
            }
        }
        // Of several bad commits git keeps the last one that it is told: the oldest.
        for (word, commit) in words.into_iter().chain(bad.into_iter().rev()) {
            if !told.contains(&commit.id.as_str()) {
                told.push(&commit.id);
                tell(&mut text, word, commit);
            }
        }
    }
    if let Some(commit) = lines.last().and_then(culprit) {
        let _ = writeln!(text, "# first bad commit: [{}] {}", commit.id, commit.subject);
    }
    text
}

/// The commit that a line came to.
fn culprit<'a>(line: &Line<'a>) -> Option<&'a Commit> {
    match line.conclusion {
        Conclusion::Culprit { patch, .. } => line.commits.get(patch - 1),
        _ => None,
    }
}

/// The last version that is good and the first that is bad, as far as that is known.
fn edges(line: &Line<'_>) -> (usize, usize) {
    match line.conclusion {
        Conclusion::Culprit { patch, .. } => (patch - 1, *patch),
        Conclusion::Unclear { patches, or_none: false, .. } => {
            let first = patches.iter().min().map_or(0, |patch| patch - 1);
            (first, patches.iter().max().copied().unwrap_or(line.commits.len()))
        }
        _ => (0, line.commits.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(id: &str, parents: &[&str]) -> Commit {
        let parents = parents.iter().map(|&p| p.to_owned()).collect();
        Commit { id: id.to_owned(), subject: format!("mm: {id}"), parents }
    }

    fn tally(hits: u32, clean: u32, other: u32) -> Tally {
        Tally { hits, clean, other, ..Tally::default() }
    }

    #[test]
    fn the_way_into_a_merge_is_one_log() {
        let (start, fork) = (commit("a", &[]), commit("f", &[]));
        let way = [commit("b", &["a"]), commit("m", &["b", "z"]), commit("c", &["m"])];
        let side = [commit("x", &["f"]), commit("y", &["x"]), commit("z", &["y"]), way[1].clone()];
        let outer = Conclusion::Culprit { patch: 2, confidence: 0.97 };
        let inner = Conclusion::Culprit { patch: 2, confidence: 0.96 };
        let outer_tallies = [tally(0, 1, 0), tally(0, 3, 0), tally(2, 1, 0), tally(1, 0, 0)];
        let inner_tallies = [tally(0, 0, 0), tally(0, 2, 1), tally(1, 0, 0), tally(1, 0, 0), tally(2, 1, 0)];
        let lines = [
            Line { start: &start, commits: &way, tallies: &outer_tallies, conclusion: &outer },
            Line { start: &fork, commits: &side, tallies: &inner_tallies, conclusion: &inner },
        ];
        insta::assert_snapshot!(render(&lines, &start, &way[2]), @"
        git bisect start
        # bad: [c] mm: c
        git bisect bad c
        # good: [a] mm: a
        git bisect good a
        # good: [b] mm: b
        git bisect good b
        # bad: [m] mm: m
        git bisect bad m
        # good: [x] mm: x
        git bisect good x
        # bad: [z] mm: z
        git bisect bad z
        # bad: [y] mm: y
        git bisect bad y
        # first bad commit: [y] mm: y
        ");
    }

    #[test]
    fn what_does_not_build_is_skipped_and_nobody_is_named() {
        let start = commit("a", &[]);
        let way = [commit("b", &["a"]), commit("c", &["b"]), commit("d", &["c"])];
        let conclusion = Conclusion::Unclear { patches: vec![2, 3], or_none: false, confidence: 0.99 };
        let tallies = [tally(0, 1, 0), tally(0, 4, 0), tally(0, 0, 1), tally(3, 0, 0)];
        let line = Line { start: &start, commits: &way, tallies: &tallies, conclusion: &conclusion };
        insta::assert_snapshot!(render(&[line], &start, &way[2]), @"
        git bisect start
        # bad: [d] mm: d
        git bisect bad d
        # good: [a] mm: a
        git bisect good a
        # good: [b] mm: b
        git bisect good b
        # skip: [c] mm: c
        git bisect skip c
        ");
    }
}
