//! Counts words. A tool that only computes: it asks the host for nothing.

use std::collections::BTreeMap;

use opg_guest::*;

/// Counts the words of a text and names the most frequent ones.
#[tool]
fn word_count(
    /// The text to count.
    text: String,
    /// How many of the most frequent words to name; none unless given.
    top: Option<u32>,
) -> Count {
    let mut frequency: BTreeMap<String, u64> = BTreeMap::new();
    for word in words(&text) {
        *frequency.entry(word).or_default() += 1;
    }
    let words = frequency.values().sum();
    let mut top_words: Vec<WordFrequency> =
        frequency.into_iter().map(|(word, count)| WordFrequency { word, count }).collect();
    top_words.sort_by_key(|entry| std::cmp::Reverse(entry.count)); // stable: ties stay in alphabetical order
    top_words.truncate(top.map_or(0, |top| top as usize));
    Count { words, top: top_words }
}

plugin!(word_count);

/// What `word_count` found.
#[data]
struct Count {
    words: u64,
    top: Vec<WordFrequency>,
}

#[data]
struct WordFrequency {
    word: String,
    count: u64,
}

/// Runs of letters, digits and what joins them, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '-')
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_words_come_first_and_ties_by_alphabet() {
        let count = word_count("The cat, the DOG — the end. A cat!".into(), Some(2));
        assert_eq!(count.words, 8);
        let top: Vec<_> = count.top.iter().map(|entry| (entry.word.as_str(), entry.count)).collect();
        assert_eq!(top, [("the", 3), ("cat", 2)]);
    }

    #[test]
    fn a_text_without_words_has_none() {
        let count = word_count(" - , ' — ".into(), Some(3));
        assert_eq!((count.words, count.top.len()), (0, 0));
    }
}
