//! What was probably meant by a word that does not exist.

/// `; did you mean 'x'?` for the known word that is nearest to `word`, or nothing where none is near.
pub fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!("; did you mean '{near}'?")).unwrap_or_default()
}

/// The known word with the fewest edits, if a third of its letters or fewer need one. Of several the first.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().take(64).collect();
    known
        .map(|near| (distance(&letters, near), near))
        .filter(|(edits, near)| *edits > 0 && *edits <= (near.chars().count().max(3)) / 3)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, near)| near)
}

/// Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut least = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let swapped: &Vec<usize> = &before;
                least = least.min(swapped[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_meant() {
        let known = ["thp", "thp-defrag", "shmem-huge", "swappiness"];
        let meant = |word: &str| did_you_mean(word, known.into_iter());
        assert_eq!(meant("swapiness"), "; did you mean 'swappiness'?");
        assert_eq!(meant("tph"), "; did you mean 'thp'?");
        assert_eq!(meant("shmem_huge"), "; did you mean 'shmem-huge'?");
        assert_eq!(meant("cpus"), "");
        assert_eq!(meant("thp"), "", "a word is not meant by itself");
        assert_eq!(meant(""), "");
    }

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!((count("", "abc"), count("abc", ""), count("kitten", "sitting")), (3, 3, 3));
        assert_eq!((count("abcd", "acbd"), count("same", "same")), (1, 0));
    }
}
