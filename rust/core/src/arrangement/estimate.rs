//! How large a search is, from random probes (Knuth, *Estimating the Efficiency of Backtrack
//! Programs*, Math. Comp. 29, 1975).
//!
//! A probe goes down from the root to a child that is drawn evenly, and on; a node with a choice of
//! k₁, k₂, … on its way counts k₁·k₂·…, the inverse of the chance to come there. So each probe's sum
//! over the nodes on its way has the number of nodes in the tree as its mean, however uneven the
//! tree; only its spread is the worse.

use super::dictionary::Dictionary;
use super::field::Field;
use super::walk::Flat;
use super::zero_rule;
use crate::{Control, Result};

/// A small generator of evenly spread numbers (SplitMix64), the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that the seed determines.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * limit as u128) >> 64) as usize
    }
}

/// What one probe says of the vertices: the choices on the way to a line, times the vertices there.
pub fn probe_flats<F: Flat>(
    whole: &F,
    levels: &mut [F],
    desk: &mut F::Desk,
    random: &mut Random,
    control: &Control,
) -> Result<f64> {
    let mut weight = 1.0;
    for step in 0..whole.free() {
        control.check()?;
        let (before, here) = levels.split_at_mut(step);
        let flat = before.last().unwrap_or(whole);
        let children = flat.children(0, u32::MAX);
        weight *= children.len() as f64;
        if flat.free() == 1 {
            break;
        }
        if children.is_empty() || !flat.reaches_a_vertex(desk) {
            return Ok(0.0);
        }
        flat.restrict(
            children.start + random.below(children.len()),
            &mut here[0],
            desk,
        );
    }
    Ok(weight)
}

/// What one probe says of the cobases.
pub fn probe_cobases<F: Field>(
    terminal: &Dictionary<F>,
    random: &mut Random,
    control: &Control,
) -> Result<f64> {
    let mut dictionary = terminal.clone();
    let (mut weight, mut sum) = (1.0, 1.0);
    loop {
        control.check()?;
        let children = zero_rule::reverse(&dictionary);
        if children.is_empty() {
            return Ok(sum);
        }
        weight *= children.len() as f64;
        sum += weight;
        let (row, column) = children[random.below(children.len())];
        dictionary.pivot(row, column);
    }
}
