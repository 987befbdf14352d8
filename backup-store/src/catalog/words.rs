//! Words to look for: parts of a text in any case, with `*` and `?`.

/// Words that must all occur somewhere in some texts.
#[derive(Debug)]
pub(crate) struct Words(Vec<Word>);

/// One word; in any case.
#[derive(Debug)]
enum Word {
    /// Occurs anywhere.
    Part(String),
    /// Matches the whole text, `*` and `?` standing for others.
    Glob(Vec<char>),
}

impl Words {
    /// Takes the words as they were typed.
    pub(crate) fn new(words: &[String]) -> Self {
        let word = |word: &String| {
            let word = word.to_lowercase();
            if word.contains(['*', '?']) {
                Word::Glob(word.chars().collect())
            } else {
                Word::Part(word)
            }
        };
        Self(words.iter().map(word).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether every word occurs in one of these texts, which are in lower case.
    pub(crate) fn match_texts(&self, texts: &[String]) -> bool {
        self.0
            .iter()
            .all(|word| texts.iter().any(|text| word.occurs_in(text)))
    }

    /// Lists the words that occur as they are, in lower case.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|word| match word {
            Word::Part(part) => Some(part.as_str()),
            Word::Glob(_) => None,
        })
    }
}

impl Word {
    fn occurs_in(&self, text: &str) -> bool {
        match self {
            Self::Part(part) => text.contains(part),
            Self::Glob(pattern) => glob(pattern, &text.chars().collect::<Vec<char>>()),
        }
    }
}

/// Matches in O(pattern × text), by going back to the last `*` only.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::Words;

    fn check(words: &[&str], texts: &[&str], expected: bool) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
        assert_eq!(
            Words::new(&words).match_texts(&texts),
            expected,
            "{words:?} in {texts:?}"
        );
    }

    #[test]
    fn all_words_must_occur_each_anywhere() {
        check(
            &["Invoice", "ada"],
            &["The invoice of May", "ada@contoso.example"],
            true,
        );
        check(
            &["invoice", "bob"],
            &["The invoice of May", "ada@contoso.example"],
            false,
        );
    }

    #[test]
    fn stars_and_question_marks_match_the_whole_text() {
        check(&["*.xlsx"], &["Budget.XLSX"], true);
        check(&["*.xlsx"], &["Budget.xlsx.bak"], false);
        check(&["b?dget*"], &["Budget 2026.xlsx"], true);
        check(&["*a*b*c"], &["xxaxxbxxbxc"], true);
        check(&["*"], &[""], true);
    }
}
