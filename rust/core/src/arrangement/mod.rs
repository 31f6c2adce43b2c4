//! Exact enumeration of the vertices, regions and flats of hyperplane arrangements (arXiv 2401.16675).
//!
//! The engine has the following rooms. Each uses only rooms above it in the table:
//!
//! | room | contents |
//! |---|---|
//! | [`arithmetic`] | fields, machine integers, integers of several words |
//! | [`lattices`] | bases of the integer points on a flat |
//! | [`input`] | hyperplanes, bounds on minors, coordinates in which rows are short |
//! | [`coordinates`] | homogeneous coordinates of vertices |
//! | [`planes`] | all vertices on a plane |
//! | [`jobs`] | parts of a search, which run within a budget |
//! | [`halfspaces`] | a polyhedron to which a search is restricted |
//! | [`flats`] | reverse search over flats |
//! | [`cobases`] | reverse search over cobases by the Zero rule |
//! | [`output`] | vertices in lowest terms and sorted, incidences |
//! | [`search`] | a whole search, on threads |
//! | [`intersections`] | the lattice of flats, the characteristic polynomial |
//! | [`regions`] | the regions and faces, with points inside |
//! | [`float`](mod@float) | the search over flats in `f64`, without a proof |
//! | `baselines` | published searches for comparison (feature `baselines`) |
//!
//! Data flow: rational rows become distinct integer hyperplanes ([`input`]). [`search`] runs [`jobs`] on
//! threads, over [`flats`] or over [`cobases`]. The vertices are brought to lowest terms and sorted
//! ([`output`]).

pub mod arithmetic;
#[cfg(feature = "baselines")]
pub mod baselines;
pub mod cobases;
pub mod coordinates;
pub mod flats;
pub mod float;
pub mod halfspaces;
pub mod input;
pub mod intersections;
pub mod jobs;
pub mod lattices;
pub mod output;
pub mod planes;
pub mod regions;
pub mod search;

#[cfg(test)]
mod stop_flag_tests;

use crate::{Control, Result, SimdLevel};
use input::{Arithmetic, Arrangement};
use jobs::Wanted;
use output::{Points, Vertices};
pub use search::Method;
use search::{VertexSearch, share};

/// All vertices of an arrangement, each once. A vertex is a point in which d hyperplanes with independent
/// normals meet.
///
/// The result depends on the hyperplanes alone. It does not depend on their order, the method or the number
/// of threads. Only [`Method::Zero`] gives the number of cobases. If the normals do not span the space,
/// there is no vertex. R⁰ has one vertex.
///
/// Each thread needs memory O(n·d²) beside the result. The time is O(n·d) operations of the [`Arithmetic`]
/// for each flat that has a vertex below it, or for each cobasis.
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
    vertices_of(
        &VertexSearch::new(arrangement.clone(), method, control)?,
        control,
    )
}

/// [`vertices`] with these vector instructions.
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
        &VertexSearch::on(simd, arrangement.clone(), method, control)?,
        control,
    )
}

/// [`vertices`] in one field. The caller has to know that its zero tests are exact for this arrangement.
pub fn vertices_in(
    arithmetic: Arithmetic,
    arrangement: &Arrangement,
    method: Method,
    control: &Control,
) -> Result<Vertices> {
    vertices_of(
        &VertexSearch::in_field(arrangement.clone(), method, arithmetic, control)?,
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
