//! Vertices of hyperplane arrangements, exactly (arXiv 2401.16675).
//!
//! The engine is a row of rooms. Each uses only rooms that stand before it here:
//!
//! | room | what it has |
//! |---|---|
//! | [`arithmetic`] | fields, machine integers, integers of several words |
//! | [`lattices`] | bases of the integer points on a flat |
//! | [`input`] | hyperplanes, bounds on minors, coordinates in which rows are short |
//! | [`coordinates`] | homogeneous coordinates of vertices |
//! | [`planes`] | all vertices on a plane |
//! | [`jobs`] | a search cut into pieces that run within a budget |
//! | [`flats`] | reverse search over flats |
//! | [`cobases`] | reverse search over cobases by the Zero rule |
//! | [`output`] | vertices in lowest terms and in one order, incidences |
//! | [`search`] | a search from end to end, on threads |
//! | [`intersections`] | the lattice of flats, the characteristic polynomial |
//! | [`regions`] | the regions and faces, with points inside |
//! | [`float`](mod@float) | the search over flats in `f64`, without a proof |
//! | `baselines` | the searches that this one is measured against (feature `baselines`) |
//!
//! Data flow: rational rows become distinct integer hyperplanes ([`input`]). [`search`] runs [`jobs`] on
//! threads, over [`flats`] or over [`cobases`]. What they find is brought to lowest terms and sorted
//! ([`output`]).

pub mod arithmetic;
#[cfg(feature = "baselines")]
pub mod baselines;
pub mod cobases;
pub mod coordinates;
pub mod flats;
pub mod float;
pub mod input;
pub mod intersections;
pub mod jobs;
pub mod lattices;
pub mod output;
pub mod planes;
pub mod regions;
pub mod search;

use crate::{Control, Result, SimdLevel};
use input::{Arithmetic, Arrangement};
use jobs::Wanted;
use output::{Points, Vertices};
pub use search::Method;
use search::{VertexSearch, share};

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
/// use hypercomp_core::arrangement::arithmetic::Rational;
/// use hypercomp_core::arrangement::{Method, input::Arrangement, output::Coordinates, vertices};
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
    vertices_of(&VertexSearch::new(arrangement.clone(), method)?, control)
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
    vertices_of(
        &VertexSearch::on(simd, arrangement.clone(), method),
        control,
    )
}

/// [`vertices`] in a field that the caller knows to be sufficient.
pub fn vertices_in(
    arithmetic: Arithmetic,
    arrangement: &Arrangement,
    method: Method,
    control: &Control,
) -> Result<Vertices> {
    vertices_of(
        &VertexSearch::in_field(arrangement.clone(), method, arithmetic)?,
        control,
    )
}

fn vertices_of(search: &VertexSearch, control: &Control) -> Result<Vertices> {
    let wanted = Wanted {
        coordinates: true,
        all_flats: false,
    };
    let result = share::run_whole(search, wanted, control)?;
    let points = Points {
        dimension: search.arrangement().dimension(),
        limbs: search.limbs(),
        numbers: result.numbers,
    };
    let cobases = (search.method() == Method::Zero).then_some(result.cobases);
    points.vertices(cobases)
}
