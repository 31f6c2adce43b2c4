//! Reverse search over cobases with the Zero rule (arXiv 2401.16675, section 3).
//!
//! The rule: at cobasis N, let j* be the smallest j ∈ N with D\[i\]\[j\] ≠ 0 for some i ∉ N, i > j,
//! and i* the largest such i; exchange them. No objective function, no sign and no right-hand side
//! is looked at. What makes a reverse search of it:
//!
//! 1. The terminal is unique, the lexicographically largest cobasis. *Where the rule stops, no
//!    j ∈ N can be exchanged for a larger i; by the exchange property of a matroid's bases N is then
//!    the largest.*
//! 2. It is reached in at most d pivots with j* strictly rising. *After the exchange the columns
//!    below j* still have no entry above them, and i* can be exchanged for nothing larger.*
//! 3. The pivots of the rule that lead to N′ can be read off N′ itself: with top\[k\] the largest
//!    i ∉ N′ with D\[i\]\[k\] ≠ 0, and k₀ the smallest k ∈ N′ with top\[k\] > k, they are the
//!    exchanges (j enters, i leaves) with D\[j\]\[i\] ≠ 0, top\[i\] < i, j < i and j < k₀, no more and
//!    no fewer. One scan of the dictionary, no trial pivot.
//! 4. So the tree below the terminal holds every cobasis exactly once, and is at most d deep.
//! 5. A vertex is reported at N iff no j ∈ N, i ∉ N, i > j has D\[i\]\[j\] ≠ 0 and slack_i = 0: iff N
//!    is the largest of its cobases, by 1 for the arrangement of the hyperplanes through it.
//!
//! Each statement is a property in this module's tests.

use rayon::prelude::*;

use super::dictionary::Dictionary;
use super::field::Field;
use super::input::Arrangement;
use crate::{Control, Result};

/// Levels of the tree whose subtrees are shared out to threads: the degenerate trees are wide at
/// the top, as a cobasis has up to n·d children.
const SHARED_LEVELS: usize = 2;

/// What a search over cobases finds.
#[derive(Clone, Debug)]
pub struct Found<C> {
    /// Numerators and denominator of every vertex, one after the other.
    pub vertices: Vec<C>,
    /// Number of cobases.
    pub cobases: u64,
}

impl<C> Found<C> {
    fn new() -> Self {
        Self {
            vertices: Vec::new(),
            cobases: 0,
        }
    }
}

/// The pivot (row, column) that the Zero rule makes, `None` at the terminal.
pub fn forward<F: Field>(dictionary: &Dictionary<F>) -> Option<(usize, usize)> {
    let (column, _) = dictionary
        .cobasis
        .iter()
        .enumerate()
        .filter(|&(c, &j)| top(dictionary, c).is_some_and(|(_, i)| i > j))
        .min_by_key(|&(_, &j)| j)?;
    top(dictionary, column).map(|(row, _)| (row, column))
}

/// The row with the largest number whose entry in this column is not 0, and that number.
fn top<F: Field>(dictionary: &Dictionary<F>, column: usize) -> Option<(usize, u32)> {
    dictionary
        .others
        .iter()
        .enumerate()
        .filter(|&(row, _)| !dictionary.entry(row, column).is_zero())
        .map(|(row, &i)| (row, i))
        .max_by_key(|&(_, i)| i)
}

/// The exchanges (row, column) by which the Zero rule's predecessors are reached (statement 3).
pub fn reverse<F: Field>(dictionary: &Dictionary<F>) -> Vec<(usize, usize)> {
    let tops: Vec<Option<u32>> = (0..dictionary.cobasis.len())
        .map(|column| top(dictionary, column).map(|(_, i)| i))
        .collect();
    let cobasis = &dictionary.cobasis;
    let first = cobasis
        .iter()
        .zip(&tops)
        .filter(|(k, top)| top.is_some_and(|i| i > **k))
        .map(|(&k, _)| k)
        .min()
        .unwrap_or(u32::MAX);
    let mut pivots = Vec::new();
    for (column, (&i, top)) in cobasis.iter().zip(&tops).enumerate() {
        if !top.is_some_and(|top| top < i) {
            continue;
        }
        for (row, &j) in dictionary.others.iter().enumerate() {
            if j < i && j < first && !dictionary.entry(row, column).is_zero() {
                pivots.push((row, column));
            }
        }
    }
    pivots
}

/// Whether this cobasis is the one at which its vertex is reported (statement 5).
pub fn reports<F: Field>(dictionary: &Dictionary<F>) -> bool {
    let through = (0..dictionary.others.len()).filter(|&row| dictionary.contains_vertex(row));
    !through.into_iter().any(|row| {
        let i = dictionary.others[row];
        let mut columns = dictionary.cobasis.iter().enumerate();
        columns.any(|(c, &j)| i > j && !dictionary.entry(row, c).is_zero())
    })
}

/// Every vertex once and the number of cobases, in the order of the search.
pub fn search<F: Field>(
    arrangement: &Arrangement,
    control: &Control,
) -> Result<Found<F::Coordinate>> {
    match Dictionary::<F>::terminal(arrangement) {
        Some(terminal) => shared(&terminal, SHARED_LEVELS, control),
        None => Ok(Found::new()),
    }
}

fn visit_one<F: Field>(dictionary: &Dictionary<F>, found: &mut Found<F::Coordinate>) {
    found.cobases += 1;
    if reports(dictionary) {
        dictionary.push_vertex(&mut found.vertices);
    }
}

/// The subtree of `dictionary`, whose children are shared out to the threads.
fn shared<F: Field>(
    dictionary: &Dictionary<F>,
    levels: usize,
    control: &Control,
) -> Result<Found<F::Coordinate>> {
    let mut found = Found::new();
    if levels == 0 {
        let mut below = Vec::new();
        visit(dictionary, &mut below, &mut found, control)?;
        return Ok(found);
    }
    visit_one(dictionary, &mut found);
    let subtrees = reverse(dictionary)
        .into_par_iter()
        .map(|(row, column)| {
            let mut child = dictionary.clone();
            child.pivot(row, column);
            shared(&child, levels - 1, control)
        })
        .collect::<Result<Vec<_>>>()?;
    for subtree in subtrees {
        found.vertices.extend(subtree.vertices);
        found.cobases += subtree.cobases;
    }
    Ok(found)
}

/// Depth first below `dictionary`; `below` is the workspace of the levels that were reached.
fn visit<F: Field>(
    dictionary: &Dictionary<F>,
    below: &mut Vec<Dictionary<F>>,
    found: &mut Found<F::Coordinate>,
    control: &Control,
) -> Result<()> {
    control.check()?;
    visit_one(dictionary, found);
    control.advance(1);
    let pivots = reverse(dictionary);
    if pivots.is_empty() {
        return Ok(());
    }
    let mut child = below.pop().unwrap_or_else(|| dictionary.clone());
    for (row, column) in pivots {
        child.assign(dictionary);
        child.pivot(row, column);
        visit(&child, below, found, control)?;
    }
    below.push(child);
    Ok(())
}
