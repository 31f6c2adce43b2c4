//! Vertices of hyperplane arrangements, exactly (arXiv 2401.16675).
//!
//! Data flows one way: [`input`] (rational rows → distinct integer hyperplanes) → [`search`], which
//! runs [`job`]s on the threads of [`share`]: the [`walk`] over flats, in the integers of a
//! [`restriction`] (in the coordinates of a [`frame`] where those are shorter, with its [`plane`]s or
//! [`wide_plane`]s) or in a [`field`] ([`flats`]), or the [`zero_rule`] over the cobases of
//! [`dictionary`] → [`vertex`] (lowest terms) → [`order`].
//!
//! [`bound`] says how large any number can become, and so in which field a residue proves that it is
//! zero: modulo a [`mersenne`] prime, [`wide`] ones included, or fractions.

pub mod baseline;
pub mod bound;
mod buckets;
pub mod common_factor;
pub mod coprime;
pub mod criss_cross;
pub mod dictionary;
pub mod estimate;
pub mod field;
pub mod flats;
pub mod float;
pub mod frame;
pub mod incidence;
pub mod input;
pub mod job;
pub mod lattice;
pub mod limbs;
pub mod lll;
pub mod mersenne;
pub mod moss;
pub mod order;
pub mod pages;
pub mod plane;
pub mod rank;
pub mod restriction;
pub mod search;
pub mod share;
pub mod slopes;
pub mod space;
pub mod span;
pub mod vertex;
pub mod walk;
pub mod wide;
pub mod wide_plane;
pub mod word;
pub mod zero_lanes;
pub mod zero_rule;

use crate::{Control, Result, SimdLevel};
use bound::Arithmetic;
use input::Arrangement;
use job::Wanted;
use search::Search;
use vertex::{Points, Vertices};

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
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), and those of [`SimdLevel::in_use`].
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
    vertices_of(&Search::new(arrangement.clone(), method)?, control)
}

/// [`vertices`] on this level.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn vertices_on(
    simd: SimdLevel,
    arrangement: &Arrangement,
    method: Method,
    control: &Control,
) -> Result<Vertices> {
    vertices_of(&Search::on(simd, arrangement.clone(), method), control)
}

/// [`vertices`] in a field that the caller knows to be sufficient.
pub fn vertices_in(
    arithmetic: Arithmetic,
    arrangement: &Arrangement,
    method: Method,
    control: &Control,
) -> Result<Vertices> {
    vertices_of(
        &Search::in_field(arrangement.clone(), method, arithmetic)?,
        control,
    )
}

fn vertices_of(search: &Search, control: &Control) -> Result<Vertices> {
    let wanted = Wanted {
        coordinates: true,
        all_flats: false,
    };
    let harvest = share::run_whole(search, wanted, control)?;
    let points = Points {
        dimension: search.arrangement().dimension(),
        limbs: search.limbs(),
        numbers: harvest.numbers,
    };
    let cobases = (search.method() == Method::Zero).then_some(harvest.cobases);
    Ok(points.vertices(cobases))
}
