//! Which known name a mistyped one was probably meant to be.

/// The known name with the smallest edit distance, if it is close enough to be a likely typo: at
/// most a quarter of the name, and never more than four edits.
pub(crate) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (wanted.chars().count() / 4).clamp(1, 4);
    known
        .into_iter()
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let cell = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (cell(&last, j) + usize::from(x != y))
                .min(cell(&last, j + 1) + 1)
                .min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    cell(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_name() {
        let known = ["CODER_HTTP_ADDRESS", "CODER_TLS_ADDRESS", "CODER_URL"];
        for (typo, want) in [
            ("CODER_HTTP_ADRESS", Some("CODER_HTTP_ADDRESS")),
            ("CODER_HTPT_ADDRESS", Some("CODER_HTTP_ADDRESS")),
            ("CODER_ULR", Some("CODER_URL")),
            ("CODER_SOMETHING_ELSE", None),
        ] {
            assert_eq!(nearest(typo, known), want, "{typo}");
        }
    }

    #[test]
    fn distances_count_a_swap_once() {
        for (a, b, want) in
            [("", "abc", 3), ("abc", "abc", 0), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), want, "{a} {b}");
        }
    }
}
