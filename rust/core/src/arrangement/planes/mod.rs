//! The last two levels of a search over flats: all vertices on a plane, a line at a time.
//!
//! [`NarrowPlane`] does this in integers below 2⁵³, which doubles hold, and [`WidePlane`] in 128 bits.
//! Both are a [`Plane`], and which of them serves a machine integer is its [`PlaneWord`].
//! [`RowSet`] brings rows with one key together.
//!
//! This room uses `arithmetic`, `lattices` and `coordinates`. It knows nothing of flats: a plane comes
//! as [`PlaneRows`].

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

/// A machine integer, and the enumeration of planes of such numbers.
pub trait PlaneWord: Word {
    /// The enumeration.
    type Plane: Plane<Self>;
}

impl PlaneWord for i64 {
    type Plane = NarrowPlane;
}

impl PlaneWord for i128 {
    type Plane = WidePlane;
}
