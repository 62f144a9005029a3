//! Groups findings of a run that are likely one bug: first by signature, then by a title that two signatures share.

use super::finding::Finding;

/// Findings of one bug, as far as can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The report to show, as an index into what was grouped.
    pub best: usize,
    /// All, in order, `best` among them.
    pub members: Vec<usize>,
}

/// Groups, in the order of their first members.
pub fn group<F: std::borrow::Borrow<Finding>>(findings: &[F]) -> Vec<Group> {
    // A forest over the findings: each points to an earlier one of its group, or to itself.
    let mut parent: Vec<usize> = (0..findings.len()).collect();
    fn root(parent: &[usize], mut at: usize) -> usize {
        while parent[at] != at {
            at = parent[at];
        }
        at
    }
    let mut first_with: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for (at, finding) in findings.iter().enumerate() {
        let finding = finding.borrow();
        let titles = finding.alt_titles.iter().chain([&finding.title]).filter(|title| tells_apart(title));
        for name in titles.chain([&finding.signature]) {
            let first = *first_with.entry(name).or_insert(at);
            let (a, b) = (root(&parent, first), root(&parent, at));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: std::collections::HashMap<usize, usize> = std::collections::HashMap::new();
    for at in 0..findings.len() {
        let group = *group_of.entry(root(&parent, at)).or_insert_with(|| {
            groups.push(Group { best: at, members: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[group];
        group.members.push(at);
        // The first of equals stays.
        if worth(findings[at].borrow()) > worth(findings[group.best].borrow()) {
            group.best = at;
        }
    }
    groups
}

/// Whether two findings under this title are likely one bug: it must name a function. `BUG: Bad rss-counter state` is any leak, and
/// `... in corrupted` any report that was cut.
fn tells_apart(title: &str) -> bool {
    title.rsplit_once(" in ").is_some_and(|(_, function)| function != "corrupted")
}

/// How good a report is to read.
fn worth(finding: &Finding) -> (bool, bool, bool, usize) {
    let frames = finding.frames.iter().filter(|f| !f.unreliable).count();
    (finding.primary, !finding.corrupted, finding.guilty.is_some(), frames.min(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::scan;

    fn gpf(function: &str) -> String {
        format!(
            "[    1.000000] general protection fault: 0000 [#1] SMP\n[    1.000000] RIP: 0010:{function}+0x1/0x2\n\
             [    1.000000] Call Trace:\n[    1.000000]  zap_pte_range+0x1/0x2\n[    1.000000] ---[ end trace 0 ]---\n"
        )
    }

    #[test]
    fn signature_joins_then_shared_titles_do() {
        let null = gpf("rmap_walk_anon").replace(
            "general protection fault: 0000 [#1] SMP",
            "BUG: kernel NULL pointer dereference, address: 0000000000000010",
        );
        let logs = [gpf("rmap_walk_anon"), gpf("page_vma_mapped_walk"), null, gpf("rmap_walk_anon")];
        let findings: Vec<Finding> = logs.iter().flat_map(|log| scan(log.as_bytes())).collect();
        let groups = group(&findings);
        assert_eq!(groups.iter().map(|g| g.members.clone()).collect::<Vec<_>>(), [vec![0, 2, 3], vec![1]]);
    }

    #[test]
    fn what_names_no_function_joins_nothing_and_the_best_report_is_shown() {
        let rss = |kind: &str| format!("[    1.000000] BUG: Bad rss-counter state mm:0 type:{kind} val:1\n");
        let cut =
            "[    1.000000] general protection fault: 0000 [#1] SMP\n[    1.000000] RIP: 0010:rmap_walk_anon+0x1/0x2";
        let logs = [rss("MM_ANONPAGES"), rss("MM_SWAPENTS"), cut.to_owned(), gpf("rmap_walk_anon")];
        let findings: Vec<Finding> = logs.iter().flat_map(|log| scan(log.as_bytes())).collect();
        let groups = group(&findings);
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[2], Group { best: 3, members: vec![2, 3] });
        assert!(group::<Finding>(&[]).is_empty());
    }
}
