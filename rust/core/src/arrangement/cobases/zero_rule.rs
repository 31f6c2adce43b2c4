//! Reverse search over cobases with the Zero rule (arXiv 2401.16675, section 3).
//!
//! **The rule.** At cobasis N, let j* be the smallest j ∈ N with D\[i\]\[j\] ≠ 0 for some i ∉ N, i > j.
//! Let i* be the largest such i. Exchange j* for i*. The rule uses no objective function, no signs and no
//! right-hand sides. These statements make a reverse search of it:
//!
//! 1. There is one terminal, the lexicographically largest cobasis. *Where the rule stops, no j ∈ N can
//!    be exchanged for a larger i. By the exchange property of the bases of a matroid, N is then the
//!    largest cobasis.*
//! 2. The rule reaches the terminal in at most d pivots, and j* rises strictly. *After the exchange, a
//!    member k < j* still has D\[i\]\[k\] = 0 for all i > k, and i* cannot be exchanged for a larger
//!    hyperplane.*
//! 3. The dictionary of N′ shows all pivots of the rule that lead to N′. Let top\[k\] be the largest
//!    i ∉ N′ with D\[i\]\[k\] ≠ 0, and k₀ the smallest k ∈ N′ with top\[k\] > k. The pivots that lead to
//!    N′ are the inverses of exactly these exchanges (j enters, i leaves): D\[j\]\[i\] ≠ 0, top\[i\] < i,
//!    j < i and j < k₀. One scan of the dictionary finds them, without a trial pivot.
//! 4. So the tree below the terminal has every cobasis exactly once, and its depth is at most d.
//! 5. A vertex is reported at N if and only if no j ∈ N and i ∉ N with i > j have D\[i\]\[j\] ≠ 0 and
//!    slack_i = 0. By statement 1, for the arrangement of the hyperplanes through the vertex, this N is
//!    the largest of its cobases.
//!
//! The tests of this module check each statement as a property.

use super::tableau::Tableau;
use crate::arrangement::jobs::{Job, Walk};

/// The pivot (row, column) that the Zero rule makes. `None` at the terminal.
pub fn forward<T: Tableau>(dictionary: &T) -> Option<(usize, usize)> {
    let (column, _) = dictionary
        .cobasis()
        .iter()
        .enumerate()
        .filter(|&(c, &j)| top(dictionary, c).is_some_and(|(_, i)| i > j))
        .min_by_key(|&(_, &j)| j)?;
    top(dictionary, column).map(|(row, _)| (row, column))
}

/// The row with the largest number whose entry in this column is not 0, and that number.
fn top<T: Tableau>(dictionary: &T, column: usize) -> Option<(usize, u32)> {
    dictionary
        .others()
        .iter()
        .enumerate()
        .filter(|&(row, _)| !dictionary.vanishes(row, column))
        .map(|(row, &i)| (row, i))
        .max_by_key(|&(_, i)| i)
}

/// The exchanges (row, column) that lead to the cobases from which the Zero rule pivots to this one
/// (statement 3).
pub fn reverse<T: Tableau>(dictionary: &T) -> Vec<(usize, usize)> {
    let tops: Vec<Option<u32>> = (0..dictionary.cobasis().len())
        .map(|column| top(dictionary, column).map(|(_, i)| i))
        .collect();
    let cobasis = dictionary.cobasis();
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
        for (row, &j) in dictionary.others().iter().enumerate() {
            if j < i && j < first && !dictionary.vanishes(row, column) {
                pivots.push((row, column));
            }
        }
    }
    pivots
}

/// Whether this cobasis is the one at which its vertex is reported (statement 5).
pub fn reports<T: Tableau>(dictionary: &T) -> bool {
    let through = (0..dictionary.others().len()).filter(|&row| dictionary.contains_vertex(row));
    !through.into_iter().any(|row| {
        let i = dictionary.others()[row];
        let mut columns = dictionary.cobasis().iter().enumerate();
        columns.any(|(c, &j)| i > j && !dictionary.vanishes(row, c))
    })
}

/// Run a job below the terminal dictionary.
pub fn run<T: Tableau>(terminal: &T, job: &Job, walk: &mut Walk<'_>) {
    let mut root = terminal.clone();
    if !job.node.is_empty() && !root.reach(&job.node) {
        walk.remaining.push(job.clone());
        return;
    }
    visit(&root, job.from, job.to, &mut Vec::new(), walk);
}

/// The reverse pivots in an order that depends on the cobasis alone.
fn children<T: Tableau>(dictionary: &T) -> Vec<(usize, usize)> {
    let mut pivots = reverse(dictionary);
    pivots.sort_unstable_by_key(|&(row, column)| {
        (dictionary.cobasis()[column], dictionary.others()[row])
    });
    pivots
}

/// Leave these positions of a dictionary's subtree to a later run.
fn leave<T: Tableau>(dictionary: &T, from: u32, to: u32, walk: &mut Walk<'_>) {
    let mut node = dictionary.cobasis().to_vec();
    node.sort_unstable();
    walk.remaining.push(Job { node, from, to });
}

/// Visit a range of positions, depth first. Position 0 is `dictionary` itself, and position k the subtree
/// of its k-th child. `below` is the workspace of the levels that were reached so far.
fn visit<T: Tableau>(dictionary: &T, from: u32, to: u32, below: &mut Vec<T>, walk: &mut Walk<'_>) {
    if from == 0 {
        let reported = reports(dictionary);
        let cost = (dictionary.others().len() * dictionary.cobasis().len()) as u64;
        if !walk.meter.spend(cost) || (reported && walk.reserve(1) == 0) {
            leave(dictionary, 0, to, walk);
            return;
        }
        walk.result.cobases += 1;
        if reported {
            walk.result.vertices += 1;
            if walk.wanted.coordinates {
                dictionary.push_vertex(walk.limbs, &mut walk.result.numbers);
            }
        }
    }
    let pivots = children(dictionary);
    let first = from.max(1);
    let last = to.min(pivots.len() as u32 + 1);
    if first >= last {
        return;
    }
    let mut child = below.pop().unwrap_or_else(|| dictionary.clone());
    for position in first..last {
        if walk.meter.stopped() {
            leave(dictionary, position, to, walk);
            break;
        }
        let (row, column) = pivots[position as usize - 1];
        child.assign(dictionary);
        if !child.pivot(row, column) {
            leave(dictionary, position, to, walk);
            break;
        }
        visit(&child, 0, u32::MAX, below, walk);
    }
    below.push(child);
}
