//! Turns what the TOML parser says into a line, a cause and a suggestion.

use crate::failure::Failure;

/// Explains why `text`, called `name`, is no config.
pub(super) fn explain(text: &str, name: &str, error: &toml::de::Error) -> Failure {
    let message = error.message().lines().next().unwrap_or_default();
    // "unknown field `x`, expected one of `a`, `b`": the candidates become a suggestion.
    let (what, expected) = match message.split_once(", expected ") {
        Some((what, expected)) if what.starts_with("unknown ") => (what, expected),
        _ => (message, ""),
    };
    let line = error.span().map(|span| line_of(text, span.start));
    let cause = match line {
        Some(line) => format!("line {line}: {what}"),
        None => what.to_owned(),
    };
    let failure = Failure::usage(format!("the config {name} cannot be understood")).cause(cause);
    let unknown = quoted(what).next().unwrap_or_default();
    match nearest(unknown, quoted(expected)) {
        Some(near) => failure.next(format!("did you mean `{near}`?")),
        None if !expected.is_empty() => failure.next(format!("possible here: {expected}")),
        None => failure.next("compare with the example: m365-backup init --write-config FILE"),
    }
}

/// Returns the words that stand between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Returns the candidate that is few keystrokes away from `word`, if one is.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Counts the insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_slip_of_the_fingers_is_recognised_and_another_word_is_not() {
        let keys = ["store", "state", "name"];
        assert_eq!(nearest("stroe", keys.into_iter()), Some("store"));
        assert_eq!(nearest("nmae", keys.into_iter()), Some("name"));
        assert_eq!(nearest("retention", keys.into_iter()), None);
        assert_eq!(distance("", "abc"), 3);
    }
}
