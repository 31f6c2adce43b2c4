//! The regions of an arrangement: the pieces into which its hyperplanes cut the space, each with the signs
//! of all hyperplanes and an exact point inside.
//!
//! **The idea.** Let the normals span the space, and let f be a linear function that is not constant on
//! any line in which hyperplanes meet. A region on which f is bounded below has exactly one vertex at
//! which f is least. So these regions are found vertex by vertex: the hyperplanes through a vertex make
//! cones, and each cone on which f grows belongs to one region. A region on which f is not bounded below
//! meets the hyperplane f = −M, where −M is below f at all vertices. It meets this hyperplane in one region
//! of the arrangement that the others cut out there. So the rest is the same task in one dimension less.
//! (T. Zaslavsky, *Facing up to Arrangements*, 1975; C. Greene and T. Zaslavsky, *On the interpretation of
//! Whitney numbers*, 1983.)
//!
//! * **Simple vertices.** If d hyperplanes meet in the vertex, there is one such cone. Its edges run along
//!   the d lines through the vertex, each in the direction in which f grows ([`cone`]).
//! * **Other vertices.** If more hyperplanes meet, d of them make cones, which the others cut ([`cones`]).
//!   Vertices with the same normals share the result.
//! * **Points.** A point inside is proposed by floats, with few digits, and proved by integers
//!   ([`short_point`]); or it is a short way from the vertex ([`cone::step`]). [`inside`] chooses.
//! * **Bounded regions.** A region is bounded if f has a least value on it and it does not meet f = +M.
//!
//! **Exact.** Vertices are exact, and signs are those of integers. A count proves that f is not constant on
//! any line: every line on which f is not constant meets f = −M in one vertex of the arrangement there, and
//! different lines meet it in different vertices. So f is constant on no line if there are as many vertices
//! as lines ([`Level::below`](level::Level::below)).
//!
//! This room uses `arithmetic`, `input`, `intersections`, `jobs`, `output` and `search`.

mod block;
mod cone;
mod cones;
mod cut;
mod faces;
mod flat_part;
mod inside;
mod level;
mod point_table;
mod search;
mod short_point;

pub use block::Block;
pub use faces::faces;
pub use point_table::PointTable;
pub use search::RegionSearch;

#[cfg(test)]
mod tests;
