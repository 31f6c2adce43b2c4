//! The searches that this project's are measured against: [`moss`](super::moss) and
//! [`criss_cross`](super::criss_cross) in the same exact arithmetic, so that the comparison of
//! arXiv 2401.16675 can be run again, and the Zero rule without residues. Plain on purpose: no
//! tuning.

use num_bigint::BigInt;

use super::bound::Arithmetic;
use super::criss_cross::{self, SignedField};
use super::field::{Field, Rational};
use super::input::Arrangement;
use super::mersenne::{Mersenne61, Mersenne127};
use super::moss;
use super::vertex::Vertices;
use super::wide::{Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689, Mersenne19937};
use super::zero_rule;
use crate::{Control, Result};

/// A search that is there to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Graph search over cobases, all of them stored.
    Moss,
    /// Avis' and Fukuda's reverse search with the least-index criss-cross rule.
    CrissCross,
    /// The Zero rule in fractions of big integers.
    Fractions,
}

/// What a baseline has found, and the work that it was.
#[derive(Clone, Debug)]
pub struct Found<V> {
    /// The vertices.
    pub vertices: V,
    /// Cobases visited, each once.
    pub cobases: u64,
    /// Dictionaries computed from another by an exchange.
    pub pivots: u64,
}

/// Every vertex of an arrangement by a baseline.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn vertices(
    arrangement: &Arrangement,
    baseline: Baseline,
    control: &Control,
) -> Result<Found<Vertices>> {
    let dimension = arrangement.dimension();
    let arithmetic = match baseline {
        Baseline::Fractions => Arithmetic::Rational,
        Baseline::Moss => Arithmetic::covering(arrangement.rows(), dimension),
        Baseline::CrissCross => Arithmetic::covering(&criss_cross::rows(arrangement), dimension),
    };
    match arithmetic {
        Arithmetic::Mersenne61 => vertices_in::<Mersenne61>(arrangement, baseline, control),
        Arithmetic::Mersenne127 => vertices_in::<Mersenne127>(arrangement, baseline, control),
        Arithmetic::Mersenne521 => vertices_in::<Mersenne521>(arrangement, baseline, control),
        Arithmetic::Mersenne1279 => vertices_in::<Mersenne1279>(arrangement, baseline, control),
        Arithmetic::Mersenne3217 => vertices_in::<Mersenne3217>(arrangement, baseline, control),
        Arithmetic::Mersenne9689 => vertices_in::<Mersenne9689>(arrangement, baseline, control),
        Arithmetic::Mersenne19937 => vertices_in::<Mersenne19937>(arrangement, baseline, control),
        Arithmetic::Rational => vertices_in::<Rational>(arrangement, baseline, control),
    }
}

/// [`vertices`] in a field that the caller knows to be sufficient.
pub fn vertices_in<F: SignedField>(
    arrangement: &Arrangement,
    baseline: Baseline,
    control: &Control,
) -> Result<Found<Vertices>>
where
    F::Coordinate: Into<BigInt>,
    i64: TryFrom<<F as Field>::Coordinate>,
{
    let found = match baseline {
        Baseline::Moss => moss::search::<F>(arrangement, control)?,
        Baseline::CrissCross => criss_cross::search::<F>(arrangement, control)?,
        Baseline::Fractions => {
            let found = zero_rule::search::<F>(arrangement, control)?;
            Found {
                vertices: found.vertices,
                cobases: found.cobases,
                pivots: found.cobases.saturating_sub(1),
            }
        }
    };
    let cobases = Some(found.cobases);
    Ok(Found {
        vertices: Vertices::sorted(arrangement.dimension(), found.vertices, cobases),
        cobases: found.cobases,
        pivots: found.pivots,
    })
}
