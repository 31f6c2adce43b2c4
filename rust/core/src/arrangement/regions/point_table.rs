//! The points of regions: nearly all have numbers of one word, and the few longer ones are stored apart.
//!
//! One point with a long number must not make big integers of all others. They would take most of the time
//! of a search.

use num_bigint::BigInt;

use crate::arrangement::arithmetic::exact::Exact;

/// Points with d numerators and a positive denominator each, in lowest terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointTable {
    /// d + 1.
    width: usize,
    /// d + 1 numbers for each point. Those of a point in [`long`](Self::long) are 0.
    pub words: Vec<i64>,
    /// The points of which some number does not fit 64 bits, by their positions, which rise.
    pub long: Vec<(usize, Vec<BigInt>)>,
}

impl PointTable {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            width: dimension + 1,
            words: Vec::new(),
            long: Vec::new(),
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.words.len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The points as big integers.
    pub fn big(&self) -> impl Iterator<Item = Vec<BigInt>> + '_ {
        let mut long = self.long.iter().peekable();
        self.words
            .chunks_exact(self.width)
            .enumerate()
            .map(
                move |(at, words)| match long.next_if(|(other, _)| *other == at) {
                    Some((_, numbers)) => numbers.clone(),
                    None => words.iter().map(|x| BigInt::from(*x)).collect(),
                },
            )
    }

    pub(super) fn push<N: Exact>(&mut self, point: &[N]) {
        let start = self.words.len();
        for x in point {
            let Some(x) = x.to_word() else {
                let numbers = point.iter().map(Exact::to_big).collect();
                self.long.push((start / self.width, numbers));
                self.words.resize(start + self.width, 0);
                self.words[start..].fill(0);
                return;
            };
            self.words.push(x);
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        let before = self.len();
        self.words.extend(other.words);
        let moved = other
            .long
            .into_iter()
            .map(|(at, point)| (before + at, point));
        self.long.extend(moved);
    }

    /// Keep the first `count` points.
    pub(super) fn truncate(&mut self, count: usize) {
        self.words.truncate(count * self.width);
        self.long.retain(|(at, _)| *at < count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The same points as a plain list, after pushes, a cut, and an append.
        #[test]
        fn it_holds_what_a_plain_list_holds(
            first in proptest::collection::vec(proptest::array::uniform3(any::<i128>()), 0..8),
            short in proptest::collection::vec(proptest::array::uniform3(any::<i64>()), 0..8),
            kept in 0usize..8,
        ) {
            let big = |point: &[i128]| point.iter().map(|x| BigInt::from(*x)).collect::<Vec<_>>();
            let mut table = PointTable::new(2);
            first.iter().for_each(|point| table.push(point));
            table.truncate(kept.min(first.len()));
            let mut plain: Vec<Vec<BigInt>> =
                first.iter().take(kept).map(|point| big(point)).collect();
            let mut more = PointTable::new(2);
            short.iter().for_each(|point| more.push(point));
            first.iter().for_each(|point| more.push(point));
            plain.extend(short.iter().map(|point| big(&point.map(i128::from))));
            plain.extend(first.iter().map(|point| big(point)));
            prop_assert!(more.long.len() <= first.len());
            table.append(more);
            prop_assert_eq!(table.len(), plain.len());
            prop_assert_eq!(table.big().collect::<Vec<_>>(), plain);
        }
    }
}
