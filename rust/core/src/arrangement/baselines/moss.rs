//! Moss' algorithm: depth-first search of the graph whose nodes are cobases and whose edges are
//! exchanges. It stores every cobasis.
//!
//! The graph of the bases of a matroid is connected, so every cobasis is reached. To visit each cobasis
//! once, the search keeps all of them in memory. Source: A. Moss, *Basis enumeration of hyperplane
//! arrangements up to symmetries*, University of New Brunswick, 2012, as described in arXiv 2401.16675.
//!
//! One thing is faster than in the original: the cobases are in a hash set. A look-up takes time O(d),
//! where the original compares with each cobasis found so far.

use std::collections::HashSet;

use super::result::BaselineResult;
use crate::arrangement::arithmetic::Field;
use crate::arrangement::cobases::{Dictionary, Tableau, zero_rule};
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

/// Every vertex once, in the order of the search, with `limbs` words for each coordinate.
///
/// A cobasis takes time O(n·d) to reach and O(n·d²) to look up its neighbours. It takes memory O(d).
pub fn search<F: Field>(
    arrangement: &Arrangement,
    limbs: usize,
    control: &Control,
) -> Result<BaselineResult<Vec<u64>>> {
    let mut found = BaselineResult {
        vertices: Vec::new(),
        cobases: 0,
        pivots: 0,
    };
    let Some(mut dictionary) = Dictionary::<F>::terminal(arrangement, control) else {
        // A cancelled call has no terminal dictionary either.
        return control.check().map(|()| found);
    };
    let mut seen = HashSet::from([sorted(dictionary.cobasis.clone())]);
    // The exchanges that led here, each by row and column. Each is its own inverse.
    let mut path: Vec<(usize, usize)> = Vec::new();
    visit(&dictionary, limbs, &mut found);
    let mut from = (0, 0);
    loop {
        control.check()?;
        if let Some((row, column)) = unseen(&dictionary, from, &mut seen) {
            if !dictionary.pivot(row, column) {
                control.check()?;
            }
            found.pivots += 1;
            visit(&dictionary, limbs, &mut found);
            control.advance(1);
            path.push((row, column));
            from = (0, 0);
        } else if let Some((row, column)) = path.pop() {
            if !dictionary.pivot(row, column) {
                control.check()?;
            }
            found.pivots += 1;
            from = (row, column + 1);
        } else {
            return Ok(found);
        }
    }
}

/// The next exchange, from this one on, that leads to a cobasis not seen before. That cobasis is added to
/// those seen.
fn unseen<F: Field>(
    dictionary: &Dictionary<F>,
    from: (usize, usize),
    seen: &mut HashSet<Box<[u32]>>,
) -> Option<(usize, usize)> {
    for row in from.0..dictionary.others.len() {
        let first = if row == from.0 { from.1 } else { 0 };
        for column in first..dictionary.cobasis.len() {
            if dictionary.entry(row, column).is_zero() {
                continue;
            }
            let mut neighbour = dictionary.cobasis.clone();
            neighbour[column] = dictionary.others[row];
            if seen.insert(sorted(neighbour)) {
                return Some((row, column));
            }
        }
    }
    None
}

fn sorted(mut cobasis: Vec<u32>) -> Box<[u32]> {
    cobasis.sort_unstable();
    cobasis.into_boxed_slice()
}

fn visit<F: Field>(dictionary: &Dictionary<F>, limbs: usize, found: &mut BaselineResult<Vec<u64>>) {
    found.cobases += 1;
    if zero_rule::reports(dictionary) {
        dictionary.push_vertex(limbs, &mut found.vertices);
    }
}
