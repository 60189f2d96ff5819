//! Finds the word somebody probably meant.
//!
//! Distance is the optimal string alignment distance: insert, drop, change or
//! swap two neighbours, one point each. A word is near when about a third of
//! it or less would have to change.

/// Longer words are not compared: nobody mistypes them, and the cost is quadratic.
const WORD_MAX: usize = 64;

/// The candidate closest to `word`, if any is close enough to suggest.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= WORD_MAX)
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(far, candidate)| *far <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let known = ["origin", "hosts", "cache", "route", "ttl"];
        let table = [
            ("orgin", Some("origin")),
            ("origni", Some("origin")),
            ("Origin", Some("origin")),
            ("host", Some("hosts")),
            ("rotue", Some("route")),
            ("tt", Some("ttl")),
            ("certificate", None),
            ("x", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
