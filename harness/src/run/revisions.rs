//! Which commit broke a cell whose kernel is a revision of a git repository: bisects the first-parent way to it, and
//! where that ends at a merge, the branch that was merged.

use super::bisecting::{evidence, soonest, Ask, Known, Line, Session, Target};
use super::journal::Of;
use super::Runner;
use crate::bisect::{git_log, Conclusion, Evidence};
use crate::build::Builder;
use crate::error::{Error, Result};
use crate::files;
use crate::git::{self, Commit};
use crate::matrix::source::SourceSpec;
use crate::plan::{Cell, Recipe, Variant};
use crate::record::{Over, RevisionLine, Revisions};
use crate::trial::Trial;
use std::path::{Path, PathBuf};

/// From where to where.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// A revision that is thought to be good.
    pub good: &'a str,
    /// One that fails, if it is not the matrix's.
    pub bad: Option<&'a str>,
}

/// Searches, or goes on where the log ends.
///
/// # Errors
/// The cell did not fail, its kernel is no revision, or there is no such range; the host fails, or a signal came. What
/// was learned until then is in the log.
pub fn run(runner: &Runner<'_>, cell: &Cell, trials: &[Trial], range: Range<'_>, ask: Ask) -> Result<Revisions> {
    let finding = soonest(cell, trials)?;
    let variant = runner.plan.variant_of(cell)?;
    let recipe = &variant.recipe;
    let (path, revision) = match &recipe.kernel.source {
        SourceSpec::Git { repository, revision } if variant.series.is_none() => (repository, revision),
        SourceSpec::Git { .. } => {
            return Err(Error::request(format!("{}: --over git takes the source without patches", variant.name)))
        }
        source => {
            return Err(Error::request(format!("--over git needs a kernel.source git:PATH@REVISION, not {source}")))
        }
    };
    let repository = files::resolve(&recipe.here, path);
    let good = git::commit(&repository, range.good)?;
    let bad = git::commit(&repository, range.bad.unwrap_or(revision))?;
    if !git::is_ancestor(&repository, &good.id, &bad.id)? {
        let (good, bad) = (good.short(), bad.short());
        return Err(Error::request(format!("good commit {good} is no ancestor of bad commit {bad}")));
    }
    let target = Target { cell, title: &finding.title, signature: &finding.signature };
    let search = Search { runner, recipe, repository: &repository, target, ask };
    let seen = search.seen_in_run(trials, &git::commit(&repository, revision)?)?;
    let lines = search.lines(&good, &bad, seen)?;
    let rendered: Vec<_> = lines.iter().map(as_log).collect();
    let log = git_log::render(&rendered, &good, &bad);
    let revisions = Revisions { repository, good, bad, lines, log };
    runner.run.write_search(Over::Git, &cell.id, &finding.signature, &revisions)?;
    Ok(revisions)
}

fn as_log(line: &RevisionLine) -> git_log::Line<'_> {
    let bisection = &line.bisection;
    git_log::Line {
        start: &line.start,
        commits: &line.commits,
        tallies: &bisection.tallies,
        conclusion: &bisection.conclusion,
    }
}

/// What was seen of a commit.
struct Seen {
    commit: String,
    seed: u64,
    cell: String,
    evidence: Evidence,
}

struct Search<'a> {
    runner: &'a Runner<'a>,
    recipe: &'a Recipe,
    repository: &'a Path,
    target: Target<'a>,
    ask: Ask,
}

impl Search<'_> {
    /// What the run itself saw of the matrix's revision, if that is still the commit that it was.
    fn seen_in_run(&self, trials: &[Trial], now: &Commit) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for trial in trials {
            let kernel = self.runner.builder.cached(&trial.kernel)?;
            let tree = git::tree(self.repository, &now.id)?;
            if let Some(meta) = kernel.and_then(|k| k.meta()).filter(|meta| meta.source_id != tree) {
                let (source, now) = (&meta.source, now.short());
                return Err(Error::request(format!("{source} is {now} now, and was another commit when it failed")));
            }
            let evidence = evidence(trial, self.target.signature, f64::from(self.target.cell.seconds));
            seen.push(Seen { commit: now.id.clone(), seed: trial.seed, cell: trial.cell.clone(), evidence });
        }
        Ok(seen)
    }

    /// Bisects the way from `good` to `bad`, and then each merge that it comes to.
    fn lines(&self, good: &Commit, bad: &Commit, mut seen: Vec<Seen>) -> Result<Vec<RevisionLine>> {
        let mut lines: Vec<RevisionLine> = Vec::new();
        let mut next = Some(Commits::between(self, good, bad, None)?);
        while let Some(commits) = next.take() {
            let part = format!("{}..{}", commits.start.id, commits.commits[commits.commits.len() - 1].id);
            let cell = &self.target.cell.id;
            let log = self.runner.run.search_log(Over::Git, cell, self.target.signature, &part)?;
            let mut session =
                Session::open(self.runner, &commits, self.target, &log, self.ask, || commits.known(&seen))?;
            let conclusion = session.search()?;
            let culprit = match conclusion {
                Conclusion::Culprit { patch, .. } => Some(&commits.commits[patch - 1]),
                _ => None,
            };
            // The last of a branch's line is the merge itself, and has been looked into.
            let inner = culprit.filter(|c| c.parents.len() == 2 && commits.merge.as_ref() != Some(&c.id));
            if let Some(merge) = inner {
                let side = git::commit(self.repository, &merge.parents[1])?;
                let into = git::commit(self.repository, &merge.parents[0])?;
                let branch = Commits::between(self, &into, &side, Some(merge))?;
                next = Some(branch).filter(|branch| branch.commits.len() > 1);
            }
            let verification = if next.is_some() { None } else { session.verified(&conclusion)? };
            for known in session.known() {
                let commit = commits.version(known.version).id.clone();
                if !seen.iter().any(|s| s.commit == commit && s.seed == known.seed && s.cell == known.cell) {
                    let Known { seed, cell, evidence, .. } = known.clone();
                    seen.push(Seen { commit, seed, cell, evidence });
                }
            }
            let subject = culprit.map(|c| c.subject.clone());
            let bisection = session.result(conclusion, verification, subject);
            lines.push(RevisionLine { start: commits.start.clone(), commits: commits.commits.clone(), bisection });
        }
        Ok(lines)
    }
}

/// Commits in a line.
struct Commits<'a> {
    name: String,
    repository: PathBuf,
    recipe: &'a Recipe,
    start: Commit,
    commits: Vec<Commit>,
    /// The merge that a branch's line ends with.
    merge: Option<String>,
}

impl<'a> Commits<'a> {
    /// What `to` has on its first-parent way and `from` has not; and `merge`, which merged it.
    fn between(search: &Search<'a>, from: &Commit, to: &Commit, merge: Option<&Commit>) -> Result<Self> {
        let repository = search.repository;
        let mut commits = git::first_parents(repository, &from.id, &to.id)?;
        let (from, to) = (from.short(), to.short());
        let first = commits.first().and_then(|first| first.parents.first());
        let start = match (first, merge) {
            (Some(parent), _) => git::commit(repository, parent)?,
            (None, Some(merge)) => git::commit(repository, &merge.parents[1])?,
            (None, None) => return Err(Error::request(format!("no commit is in {to} and not in {from}"))),
        };
        commits.extend(merge.cloned());
        let folder = repository.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{folder}@{}..{to}", start.short());
        let merge = merge.map(|merge| merge.id.clone());
        Ok(Self { name, repository: repository.to_owned(), recipe: search.recipe, start, commits, merge })
    }

    fn version(&self, version: usize) -> &Commit {
        version.checked_sub(1).map_or(&self.start, |at| &self.commits[at])
    }

    /// What was seen of these commits before.
    fn known(&self, seen: &[Seen]) -> Vec<Known> {
        let of = |version: usize| {
            let commit = &self.version(version).id;
            seen.iter().filter(move |s| s.commit == *commit).map(move |s| Known {
                version,
                seed: s.seed,
                cell: s.cell.clone(),
                evidence: s.evidence,
            })
        };
        (0..=self.commits.len()).flat_map(of).collect()
    }
}

impl Line for Commits<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "commits"
    }

    fn names(&self) -> Vec<String> {
        self.commits.iter().map(|c| format!("{} {}", c.short(), c.subject)).collect()
    }

    fn variant(&self, of: Of) -> Option<Variant> {
        let Of::Prefix(version) = of else { return None };
        let commit = self.version(version);
        let mut recipe = self.recipe.clone();
        recipe.kernel.source = SourceSpec::Git { repository: self.repository.clone(), revision: commit.id.clone() };
        Some(Variant { name: commit.short().to_owned(), recipe, series: None, patches: Vec::new() })
    }

    /// To ask would be to unpack each commit.
    fn is_cached(&self, _version: usize, _builder: &Builder<'_>) -> Result<bool> {
        Ok(false)
    }
}
