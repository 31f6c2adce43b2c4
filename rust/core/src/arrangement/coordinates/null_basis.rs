//! Exact bases of flats whose numbers have many words.
//!
//! The points (x, 1) of a flat, and their multiples, are the null space of the rows \[a|−b\] of hyperplanes
//! that cut it out. A [`NullBasis`] is a basis w₀, …, w_r of integer vectors, one for each of r + 1 *free*
//! columns: w_k has the number δ in its own free column, and 0 in those of the others. The entries are minors of
//! the rows, and δ is the minor of the columns that are not free (Cramer's rule), all divided by one power of two.
//!
//! **A cut.** Let t_k be the values of another row at the basis vectors, and t_p one with the fewest
//! factors of two. Divide all t by that power of two. Then the vectors
//! u_k = (t_p·w_k − t_k·w_p)/δ for k ≠ p are the basis of the flat that the row cuts out, with t_p in the place of δ.
//!
//! **δ is odd.** It is 1 for the whole space, and a cut keeps it odd. So the division by δ is a product with its
//! inverse modulo 2^(64·n), where n words hold every minor. (The u_k are integers: they are minors divided by
//! a power of two, and so is every multiple of them. Their product with the odd δ is an integer.)

use crate::arrangement::arithmetic::{
    Signed, SignedWords, add_product, as_signed, divide_by_power, inverse_of_odd, is_negative,
    negate, twos,
};
use crate::{Control, Result};

/// A basis of the null space of some rows.
#[derive(Clone, Debug, Default)]
pub struct NullBasis {
    /// Entries of a vector.
    width: usize,
    /// Words that hold every minor.
    limbs: usize,
    /// The free column of each vector.
    free: Vec<usize>,
    vectors: SignedWords,
    /// 1/δ modulo 2^(64·limbs).
    inverse: Vec<u64>,
}

/// The values of a row at the vectors of a basis, of which one counts as the pivot.
#[derive(Clone, Debug, Default)]
pub struct RowValues {
    limbs: usize,
    /// Each value in two's complement.
    words: Vec<u64>,
    /// The values divided by δ.
    quotients: Vec<u64>,
    pivot: usize,
}

impl RowValues {
    fn value(&self, at: usize) -> &[u64] {
        &self.words[at * self.limbs..][..self.limbs]
    }

    fn quotient(&self, at: usize) -> Signed<'_> {
        as_signed(&self.quotients[at * self.limbs..][..self.limbs])
    }

    /// Whether all values are 0: the hyperplane contains the flat.
    pub fn are_zero(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether these values and others, of the same basis, are proportional. These are not all 0.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn are_proportional(&self, other: &Self, control: &Control) -> Result<bool> {
        // Modulo 2^(64·limbs), the difference of two products is δ times a minor, divided by a power of
        // two. Since δ is odd and the minor fits, it is 0 only if the minor is.
        let count = self.words.len() / self.limbs;
        let signed = |values: &Self, at: usize| {
            let mut list = SignedWords::new(values.limbs);
            list.push_residue(values.value(at));
            list
        };
        let (mine, theirs) = (signed(self, self.pivot), signed(other, self.pivot));
        let mut difference = vec![0; self.limbs];
        for at in (0..count).filter(|at| *at != self.pivot) {
            control.check()?;
            difference.fill(0);
            add_product(&mut difference, mine.get(0), signed(other, at).get(0));
            add_product(
                &mut difference,
                theirs.get(0).negated(),
                signed(self, at).get(0),
            );
            if difference.iter().any(|word| *word != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl NullBasis {
    /// The unit vectors: the basis of the whole space.
    pub fn whole(width: usize, limbs: usize) -> Self {
        let mut vectors = SignedWords::new(limbs);
        for k in 0..width {
            for c in 0..width {
                vectors.push(&u64::from(c == k).into());
            }
        }
        let mut inverse = vec![0; limbs];
        inverse[0] = 1;
        Self {
            width,
            limbs,
            free: (0..width).collect(),
            vectors,
            inverse,
        }
    }

    fn entry(&self, vector: usize, column: usize) -> Signed<'_> {
        self.vectors.get(vector * self.width + column)
    }

    /// Compute the values of a row. Its entries are `width` numbers of the list, from the place `first` on.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn evaluate(
        &self,
        rows: &SignedWords,
        first: usize,
        values: &mut RowValues,
        control: &Control,
    ) -> Result<()> {
        values.limbs = self.limbs;
        values.words.clear();
        values.words.resize(self.free.len() * self.limbs, 0);
        let (mut fewest, mut pivot) = (usize::MAX, 0);
        for (k, value) in values.words.chunks_exact_mut(self.limbs).enumerate() {
            control.check()?;
            for c in 0..self.width {
                add_product(value, self.entry(k, c), rows.get(first + c));
            }
            let factors = twos(value);
            if factors < fewest {
                (fewest, pivot) = (factors, k);
            }
        }
        values.pivot = pivot;
        Ok(())
    }

    /// Divide values by their common power of two and by δ.
    fn divide(&self, values: &mut RowValues, control: &Control) -> Result<()> {
        let power = twos(values.value(values.pivot));
        values.quotients.clear();
        values.quotients.resize(values.words.len(), 0);
        let quotients = values.quotients.chunks_exact_mut(self.limbs);
        for (value, quotient) in values.words.chunks_exact_mut(self.limbs).zip(quotients) {
            control.check()?;
            divide_by_power(value, power);
            add_product(quotient, as_signed(value), as_signed(&self.inverse));
        }
        Ok(())
    }

    /// Entry `column` of the vector that vector `k` becomes by a cut.
    fn combined(&self, k: usize, column: usize, values: &RowValues, out: &mut [u64]) {
        if column == self.free[k] {
            out.copy_from_slice(values.value(values.pivot));
        } else if column == self.free[values.pivot] {
            out.copy_from_slice(values.value(k));
            negate(out);
        } else {
            out.fill(0);
            add_product(out, values.quotient(values.pivot), self.entry(k, column));
            add_product(
                out,
                values.quotient(k).negated(),
                self.entry(values.pivot, column),
            );
        }
    }

    /// Make `child` the basis of the flat that a row with these values cuts out. They are not all 0.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn cut(&self, values: &mut RowValues, child: &mut Self, control: &Control) -> Result<()> {
        self.divide(values, control)?;
        let pivot = values.pivot;
        (child.width, child.limbs) = (self.width, self.limbs);
        child.free.clear();
        child.vectors.clear(self.limbs);
        let mut entry = vec![0; self.limbs];
        for k in (0..self.free.len()).filter(|k| *k != pivot) {
            child.free.push(self.free[k]);
            for c in 0..self.width {
                control.check()?;
                self.combined(k, c, values, &mut entry);
                child.vectors.push_residue(&entry);
            }
        }
        child.inverse = inverse_of_odd(values.value(pivot));
        Ok(())
    }

    /// Append the point in which a row with these values meets this line, as coordinates of `limbs` words. The
    /// last coordinate is positive. The values are not all 0.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only. Then nothing is appended.
    pub fn push_point(
        &self,
        values: &mut RowValues,
        limbs: usize,
        out: &mut Vec<u64>,
        control: &Control,
    ) -> Result<()> {
        self.divide(values, control)?;
        let other = 1 - values.pivot;
        let start = out.len();
        let mut entry = vec![0; self.limbs];
        let mut negative = false;
        for c in 0..self.width {
            if let Err(stopped) = control.check() {
                out.truncate(start);
                return Err(stopped);
            }
            self.combined(other, c, values, &mut entry);
            negative = is_negative(&entry);
            out.extend_from_slice(&entry[..limbs]);
        }
        if negative {
            out[start..].chunks_exact_mut(limbs).for_each(negate);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::arithmetic::integer;
    use num_bigint::BigInt;
    use num_traits::{Signed as _, Zero};
    use proptest::prelude::*;

    /// A determinant by expansion: slow and plain.
    fn determinant(rows: &[Vec<BigInt>]) -> BigInt {
        let Some((first, rest)) = rows.split_first() else {
            return 1.into();
        };
        let mut sum = BigInt::zero();
        for (c, x) in first.iter().enumerate() {
            let minor: Vec<Vec<BigInt>> = rest
                .iter()
                .map(|row| [&row[..c], &row[c + 1..]].concat())
                .collect();
            let term = x * determinant(&minor);
            sum = if c % 2 == 0 { sum + term } else { sum - term };
        }
        sum
    }

    /// Up to a factor, the point that is orthogonal to all rows.
    fn point(rows: &[Vec<BigInt>]) -> Vec<BigInt> {
        let sign = |c: usize| if c.is_multiple_of(2) { 1 } else { -1 };
        let without = |c: usize| -> Vec<Vec<BigInt>> {
            rows.iter()
                .map(|row| [&row[..c], &row[c + 1..]].concat())
                .collect()
        };
        (0..=rows.len())
            .map(|c| determinant(&without(c)) * sign(c))
            .collect()
    }

    proptest! {
        /// Down to a point, for rows of which some are multiples of powers of two.
        #[test]
        fn cuts_lead_to_the_point_of_all_rows(
            (rows, twos) in (2usize..6).prop_flat_map(|d| (
                proptest::collection::vec(proptest::collection::vec(-(1i64 << 50)..1 << 50, d + 1), d),
                proptest::collection::vec(0u32..40, d + 1),
            )),
            small: bool,
        ) {
            let d = rows.len();
            let rows: Vec<Vec<BigInt>> = rows
                .iter()
                .map(|row| row
                    .iter()
                    .zip(&twos)
                    .map(|(x, twos)| BigInt::from(if small { x % 3 } else { *x }) << *twos)
                    .collect())
                .collect();
            let expected = point(&rows);
            prop_assume!(expected.iter().any(|x| !x.is_zero()));
            let control = Control::new();
            let limbs = 2 * d + 1;
            let mut list = SignedWords::new(2);
            rows.iter().flatten().for_each(|x| list.push(x));
            let mut basis = NullBasis::whole(d + 1, limbs);
            let mut values = RowValues::default();
            for at in 0..d - 1 {
                basis.evaluate(&list, at * (d + 1), &mut values, &control).unwrap();
                prop_assert!(!values.are_zero());
                prop_assert!(values.are_proportional(&values, &control).unwrap());
                let mut child = NullBasis::default();
                basis.cut(&mut values, &mut child, &control).unwrap();
                for row in 0..d {
                    child.evaluate(&list, row * (d + 1), &mut values, &control).unwrap();
                    prop_assert_eq!(values.are_zero(), row <= at);
                    if row > at {
                        let mut first = RowValues::default();
                        child.evaluate(&list, (at + 1) * (d + 1), &mut first, &control).unwrap();
                        let same = first.are_proportional(&values, &control).unwrap();
                        prop_assert_eq!(same, row == at + 1);
                    }
                }
                basis = child;
            }
            basis.evaluate(&list, (d - 1) * (d + 1), &mut values, &control).unwrap();
            let mut out = Vec::new();
            basis.push_point(&mut values, limbs, &mut out, &control).unwrap();
            let found: Vec<BigInt> = out.chunks_exact(limbs).map(integer).collect();
            prop_assert!(!found[d].is_negative());
            for (x, y) in found.iter().zip(&expected) {
                for (z, w) in found.iter().zip(&expected) {
                    prop_assert_eq!(x * w, y * z);
                }
            }
            prop_assert!(found.iter().zip(&expected).all(|(x, y)| x.abs() <= y.abs()));
        }
    }
}
