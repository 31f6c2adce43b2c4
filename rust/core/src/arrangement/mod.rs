//! Vertices of hyperplane arrangements, exactly (arXiv 2401.16675).
//!
//! Data flows one way: [`input`] (rational rows → distinct integer hyperplanes) → [`bound`] (the
//! cheapest [`field`] in which every zero test is proved: residues modulo a [`mersenne`] prime,
//! [`wide`] ones included, or fractions) → a search, over [`flats`] or, by the [`zero_rule`], over the cobases of
//! [`dictionary`] → [`vertex`] (lowest terms, sorted).

pub mod baseline;
pub mod bound;
pub mod criss_cross;
pub mod dictionary;
pub mod field;
pub mod flats;
pub mod float;
pub mod input;
pub mod mersenne;
pub mod moss;
pub mod vertex;
pub mod wide;
pub mod zero_rule;

use num_bigint::BigInt;

use crate::{Control, Result};
use bound::Arithmetic;
use field::{Field, Rational};
use input::Arrangement;
use mersenne::{Mersenne61, Mersenne127};
use vertex::Vertices;
use wide::{Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689, Mersenne19937};

/// How the vertices are searched for; both find the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Over flats: each vertex once, however degenerate.
    Flats,
    /// Over cobases, by the Zero rule: counts the cobases on the way.
    Zero,
}

/// Every vertex of an arrangement: every point in which d hyperplanes with independent normals
/// meet, once.
///
/// The result depends on the hyperplanes alone, not on their order, the method or the number of
/// threads, but for the number of cobases, which only [`Method::Zero`] knows. An arrangement whose
/// normals do not span the space has no vertex; R⁰ is one.
///
/// Memory O(n·d²) a thread beside the result. Time O(n·d) a flat with a vertex below it, or
/// O(n·d) a cobasis, times the cost of the [`Arithmetic`].
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
///
/// # Example
/// ```
/// use hypercomp_core::Control;
/// use hypercomp_core::arrangement::{Method, input::Arrangement, vertex::Coordinates, vertices};
/// use hypercomp_core::arrangement::field::Rational;
///
/// // x = 0, y = 0, x + 2y = 1.
/// let rows = [[1, 0, 0], [0, 1, 0], [1, 2, 1]]
///     .map(|row| row.map(|x| Rational::from_integer(x.into())).to_vec());
/// let arrangement = Arrangement::new(&rows, 2)?;
/// let found = vertices(&arrangement, Method::Flats, &Control::new())?;
/// // (0, 0), (0, 1/2), (1, 0)
/// assert_eq!(found.coordinates, Coordinates::Small(vec![0, 0, 1, 0, 1, 2, 1, 0, 1]));
/// # Ok::<(), hypercomp_core::Error>(())
/// ```
pub fn vertices(arrangement: &Arrangement, method: Method, control: &Control) -> Result<Vertices> {
    match Arithmetic::covering(arrangement.rows(), arrangement.dimension()) {
        Arithmetic::Mersenne61 => vertices_in::<Mersenne61>(arrangement, method, control),
        Arithmetic::Mersenne127 => vertices_in::<Mersenne127>(arrangement, method, control),
        Arithmetic::Mersenne521 => vertices_in::<Mersenne521>(arrangement, method, control),
        Arithmetic::Mersenne1279 => vertices_in::<Mersenne1279>(arrangement, method, control),
        Arithmetic::Mersenne3217 => vertices_in::<Mersenne3217>(arrangement, method, control),
        Arithmetic::Mersenne9689 => vertices_in::<Mersenne9689>(arrangement, method, control),
        Arithmetic::Mersenne19937 => vertices_in::<Mersenne19937>(arrangement, method, control),
        Arithmetic::Rational => vertices_in::<Rational>(arrangement, method, control),
    }
}

/// [`vertices`] in a field that the caller knows to be sufficient.
pub fn vertices_in<F: Field>(
    arrangement: &Arrangement,
    method: Method,
    control: &Control,
) -> Result<Vertices>
where
    F::Coordinate: Into<BigInt>,
    i64: TryFrom<F::Coordinate>,
{
    let dimension = arrangement.dimension();
    let (found, cobases) = match method {
        Method::Flats => (flats::search::<F>(arrangement, control)?, None),
        Method::Zero => {
            let found = zero_rule::search::<F>(arrangement, control)?;
            (found.vertices, Some(found.cobases))
        }
    };
    Ok(Vertices::sorted(dimension, found, cobases))
}
