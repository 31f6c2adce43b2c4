//! The operations on a dictionary that the Zero rule needs, for any kind of numbers.

use crate::Control;

/// The dictionary of a cobasis. It has a row for each hyperplane outside the cobasis. The row has an entry
/// for each member of the cobasis, and a constant.
pub trait Tableau: Clone {
    /// The hyperplanes of the cobasis, one a column.
    fn cobasis(&self) -> &[u32];
    /// The other hyperplanes, one a row.
    fn others(&self) -> &[u32];
    /// Whether an entry is 0. The last column is that of the constants.
    fn vanishes(&self, row: usize, column: usize) -> bool;
    /// Exchange: others\[row\] enters the cobasis, and cobasis\[column\] leaves it. Their entry is not 0.
    ///
    /// False if the caller has cancelled. Then the dictionary is only partly updated and must not be used.
    #[must_use]
    fn pivot(&mut self, row: usize, column: usize) -> bool;
    /// Make this a copy of `other`, in the memory that is already allocated.
    fn assign(&mut self, other: &Self);
    /// Set the stop flag that long pivots check.
    fn set_control(&mut self, control: &Control);
    /// Append the vertex of this cobasis.
    fn push_vertex(&self, limbs: usize, out: &mut Vec<u64>);

    /// Whether hyperplane others\[row\] contains the vertex of this cobasis.
    fn contains_vertex(&self, row: usize) -> bool {
        self.vanishes(row, self.cobasis().len())
    }

    /// Go to another cobasis by exchanges. Bases of a matroid can be exchanged so that the new members enter
    /// in any order.
    ///
    /// False if the caller has cancelled.
    #[must_use]
    fn reach(&mut self, cobasis: &[u32]) -> bool {
        for number in cobasis {
            let Some(row) = self.others().iter().position(|i| i == number) else {
                continue;
            };
            let column = (0..self.cobasis().len())
                .find(|&c| !cobasis.contains(&self.cobasis()[c]) && !self.vanishes(row, c));
            if let Some(column) = column
                && !self.pivot(row, column)
            {
                return false;
            }
        }
        true
    }
}
