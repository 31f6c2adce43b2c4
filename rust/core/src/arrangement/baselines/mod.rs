//! The published searches that this engine is measured against.
//!
//! They are for benchmarks and tests only. The feature `baselines` compiles them; the wheel is built
//! without it. [`Baseline::Moss`] and [`Baseline::CrissCross`] run in the same exact arithmetic as the
//! engine, so the comparison of arXiv 2401.16675 can be repeated. [`Baseline::Fractions`] is the Zero rule
//! in fractions. None of them is tuned.
//!
//! This room uses `arithmetic`, `input`, `cobases` and `output`.

mod criss_cross;
mod moss;
mod result;

pub use result::BaselineResult;

use crate::arrangement::arithmetic::{
    Mersenne61, Mersenne127, Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689, Mersenne19937,
    Rational, SignedField,
};
use crate::arrangement::cobases::{Dictionary, Tableau, zero_rule};
use crate::arrangement::input::{Arithmetic, Arrangement, Bound};
use crate::arrangement::output::{Points, Vertices};
use crate::{Control, Result};

/// A search with which the engine is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Graph search over cobases, which stores all of them.
    Moss,
    /// Avis' and Fukuda's reverse search with the least-index criss-cross rule.
    CrissCross,
    /// The Zero rule in fractions of big integers.
    Fractions,
}

/// Every vertex of an arrangement by a baseline.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn vertices(
    arrangement: &Arrangement,
    baseline: Baseline,
    control: &Control,
) -> Result<BaselineResult<Vertices>> {
    let dimension = arrangement.dimension();
    let arithmetic = match baseline {
        Baseline::Moss => Bound::of(arrangement.rows(), dimension, control)?.arithmetic(),
        Baseline::CrissCross => {
            Bound::of(&criss_cross::rows(arrangement), dimension, control)?.arithmetic()
        }
        Baseline::Fractions => Arithmetic::Rational,
    };
    vertices_in(arithmetic, arrangement, baseline, control)
}

/// [`vertices`] in a field that the caller knows to be sufficient.
pub fn vertices_in(
    arithmetic: Arithmetic,
    arrangement: &Arrangement,
    baseline: Baseline,
    control: &Control,
) -> Result<BaselineResult<Vertices>> {
    match arithmetic {
        Arithmetic::Mersenne61 => search::<Mersenne61>(arrangement, baseline, control),
        Arithmetic::Mersenne127 => search::<Mersenne127>(arrangement, baseline, control),
        Arithmetic::Mersenne521 => search::<Mersenne521>(arrangement, baseline, control),
        Arithmetic::Mersenne1279 => search::<Mersenne1279>(arrangement, baseline, control),
        Arithmetic::Mersenne3217 => search::<Mersenne3217>(arrangement, baseline, control),
        Arithmetic::Mersenne9689 => search::<Mersenne9689>(arrangement, baseline, control),
        Arithmetic::Mersenne19937 => search::<Mersenne19937>(arrangement, baseline, control),
        Arithmetic::Rational => search::<Rational>(arrangement, baseline, control),
    }
}

fn search<F: SignedField>(
    arrangement: &Arrangement,
    baseline: Baseline,
    control: &Control,
) -> Result<BaselineResult<Vertices>> {
    let dimension = arrangement.dimension();
    let limbs = Bound::of(arrangement.rows(), dimension, control)?.coordinate_limbs();
    let found = match baseline {
        Baseline::Moss => moss::search::<F>(arrangement, limbs, control)?,
        Baseline::CrissCross => criss_cross::search::<F>(arrangement, limbs, control)?,
        Baseline::Fractions => zero_rule_search::<F>(arrangement, limbs, control)?,
    };
    let points = Points {
        dimension,
        limbs,
        numbers: found.vertices,
    };
    Ok(BaselineResult {
        vertices: points.vertices(Some(found.cobases))?,
        cobases: found.cobases,
        pivots: found.pivots,
    })
}

/// Reverse search by the Zero rule, without jobs or limits.
fn zero_rule_search<F: SignedField>(
    arrangement: &Arrangement,
    limbs: usize,
    control: &Control,
) -> Result<BaselineResult<Vec<u64>>> {
    let mut found = BaselineResult {
        vertices: Vec::new(),
        cobases: 0,
        pivots: 0,
    };
    let terminal = Dictionary::<F>::terminal(arrangement, control);
    // A cancelled call has no terminal dictionary either.
    control.check()?;
    let mut waiting: Vec<_> = terminal.into_iter().collect();
    while let Some(dictionary) = waiting.pop() {
        control.check()?;
        found.cobases += 1;
        if zero_rule::reports(&dictionary) {
            dictionary.push_vertex(limbs, &mut found.vertices);
        }
        for (row, column) in zero_rule::reverse(&dictionary) {
            let mut child = dictionary.clone();
            if !child.pivot(row, column) {
                control.check()?;
            }
            found.pivots += 1;
            waiting.push(child);
        }
    }
    Ok(found)
}
