//! The last two levels of a search over flats: all vertices on a plane, line by line.
//!
//! [`NarrowPlane`] computes in integers below 2⁵³, which doubles hold, and [`WidePlane`] in 128 bits. Both
//! implement [`Plane`]. [`PlaneWord`] chooses one of them for each type of machine integer. [`RowSet`]
//! finds rows with equal keys.
//!
//! This room uses `arithmetic`, `lattices` and `coordinates`. It does not depend on flats: the rows of a
//! plane are given as [`PlaneRows`].

mod narrow;
mod plane;
mod row_set;
mod slopes;
mod wide;

pub use narrow::NarrowPlane;
pub use plane::{Plane, PlaneRows};
pub use row_set::{RowSet, Rows};
pub use slopes::Slopes;
pub use wide::WidePlane;

use crate::arrangement::arithmetic::Word;

/// A machine integer with an enumeration of the vertices on planes.
pub trait PlaneWord: Word {
    /// The enumeration for rows of these integers.
    type Plane: Plane<Self>;
}

impl PlaneWord for i64 {
    type Plane = NarrowPlane;
}

impl PlaneWord for i128 {
    type Plane = WidePlane;
}
