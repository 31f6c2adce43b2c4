//! What the Zero rule asks of a dictionary, whatever its numbers are.

use crate::Control;

/// The dictionary of a cobasis: an entry for each of the other hyperplanes and each member of the cobasis,
/// and a constant for each of the others.
pub trait Tableau: Clone {
    /// The hyperplanes of the cobasis, one a column.
    fn cobasis(&self) -> &[u32];
    /// The other hyperplanes, one a row.
    fn others(&self) -> &[u32];
    /// Whether an entry is 0; the column after the last is that of the constants.
    fn vanishes(&self, row: usize, column: usize) -> bool;
    /// Exchange others\[row\], which enters the cobasis, for cobasis\[column\]; their entry is not 0.
    ///
    /// False where the caller has cancelled on the way; then this is no dictionary any more.
    #[must_use]
    fn pivot(&mut self, row: usize, column: usize) -> bool;
    /// Make this a copy of `other`, keeping its memory.
    fn assign(&mut self, other: &Self);
    /// Let long pivots look at this stop flag.
    fn attend(&mut self, control: &Control);
    /// Append the vertex of this cobasis.
    fn push_vertex(&self, limbs: usize, out: &mut Vec<u64>);

    /// Whether hyperplane others\[row\] contains the vertex of this cobasis.
    fn contains_vertex(&self, row: usize) -> bool {
        self.vanishes(row, self.cobasis().len())
    }

    /// Go to another cobasis, by exchanges; bases of a matroid allow them in any order of entering.
    ///
    /// False where the caller has cancelled on the way.
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
