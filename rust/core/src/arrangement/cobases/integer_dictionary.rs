//! Dictionaries in integers, for long numbers.
//!
//! Every entry of a dictionary is a minor of \[A|b\] divided by the same minor, the determinant q of the
//! normals of the cobasis. Here only the numerators are kept, as integers of any size. A pivot on the
//! numerator p in row r and column c makes p the new denominator. Every other numerator becomes
//!
//! D′\[i\]\[j\] = (D\[i\]\[j\]·p − D\[i\]\[c\]·D\[r\]\[j\]) / q.
//!
//! The division leaves no remainder, because the result is a minor (J. Edmonds, *Systems of Distinct
//! Representatives and Linear Algebra*, 1967; lrs pivots in the same way). So no number is longer than a
//! minor, and there are no inverses. (In a field, every number is as long as the prime, which is larger
//! than Hadamard's bound and often much longer than the minors.)

use num_bigint::BigInt;
use num_traits::{One, Signed, Zero};

use super::tableau::Tableau;
use crate::Control;
use crate::arrangement::arithmetic::push_integer;
use crate::arrangement::input::Arrangement;

/// Stands for a coordinate of the space, until the first cobasis is reached.
const COORDINATE: u32 = u32::MAX;

/// The dictionary of a cobasis, in integers.
#[derive(Clone, Debug)]
pub struct IntegerDictionary {
    cobasis: Vec<u32>,
    others: Vec<u32>,
    /// d numerators and the numerator of the constant for each of the other hyperplanes, and then for each
    /// coordinate.
    entries: Vec<BigInt>,
    /// The denominator of all entries: the determinant of the normals of the cobasis. Its sign is free.
    determinant: BigInt,
    /// Checked between entries.
    control: Control,
}

impl IntegerDictionary {
    /// The dictionary of the lexicographically largest cobasis, as
    /// [`Dictionary::terminal`](super::Dictionary::terminal) finds it.
    pub fn terminal(arrangement: &Arrangement, control: &Control) -> Option<Self> {
        let dimension = arrangement.dimension();
        let mut entries = Vec::new();
        for row in arrangement.rows() {
            control.check().ok()?;
            entries.extend_from_slice(&row[..dimension]);
            entries.push(-&row[dimension]);
        }
        for coordinate in 0..dimension {
            entries.extend((0..=dimension).map(|c| BigInt::from(u8::from(c == coordinate))));
        }
        let mut dictionary = Self {
            cobasis: vec![COORDINATE; dimension],
            others: (0..arrangement.rows().len() as u32).collect(),
            entries,
            determinant: BigInt::one(),
            control: control.clone(),
        };
        for row in (0..dictionary.others.len()).rev() {
            control.check().ok()?;
            let column = (0..dimension)
                .find(|&c| dictionary.cobasis[c] == COORDINATE && !dictionary.vanishes(row, c));
            if let Some(column) = column
                && !dictionary.pivot(row, column)
            {
                return None;
            }
        }
        // The row of each exchanged hyperplane now holds a coordinate. The coordinate rows have it too, so
        // it is dropped here.
        let stride = dimension + 1;
        let mut kept = Vec::with_capacity(dictionary.entries.len());
        for (row, chunk) in dictionary.entries.chunks_exact(stride).enumerate() {
            if dictionary.others.get(row) != Some(&COORDINATE) {
                kept.extend_from_slice(chunk);
            }
        }
        dictionary.entries = kept;
        dictionary.others.retain(|&i| i != COORDINATE);
        (!dictionary.cobasis.contains(&COORDINATE)).then_some(dictionary)
    }
}

impl Tableau for IntegerDictionary {
    fn cobasis(&self) -> &[u32] {
        &self.cobasis
    }
    fn others(&self) -> &[u32] {
        &self.others
    }
    fn vanishes(&self, row: usize, column: usize) -> bool {
        self.entries[row * (self.cobasis.len() + 1) + column].is_zero()
    }
    fn pivot(&mut self, row: usize, column: usize) -> bool {
        let stride = self.cobasis.len() + 1;
        let solved = self.entries[row * stride..(row + 1) * stride].to_vec();
        let pivot = &solved[column];
        for (other, entries) in self.entries.chunks_exact_mut(stride).enumerate() {
            if other == row {
                continue;
            }
            let factor = entries[column].clone();
            for (c, value) in entries.iter_mut().enumerate() {
                if c == column {
                    // The numerator in the pivot's place does not change.
                    continue;
                }
                if self.control.check().is_err() {
                    return false;
                }
                *value *= pivot;
                if !factor.is_zero() && !solved[c].is_zero() {
                    *value -= &factor * &solved[c];
                }
                if !self.determinant.is_one() && !value.is_zero() {
                    *value /= &self.determinant;
                }
            }
        }
        for (c, value) in self.entries[row * stride..][..stride]
            .iter_mut()
            .enumerate()
        {
            *value = if c == column {
                self.determinant.clone()
            } else {
                -&solved[c]
            };
        }
        self.determinant.clone_from(&solved[column]);
        std::mem::swap(&mut self.others[row], &mut self.cobasis[column]);
        true
    }
    fn assign(&mut self, other: &Self) {
        self.cobasis.clone_from(&other.cobasis);
        self.others.clone_from(&other.others);
        self.entries.clone_from(&other.entries);
        self.determinant.clone_from(&other.determinant);
    }
    fn set_control(&mut self, control: &Control) {
        self.control = control.clone();
    }
    fn push_vertex(&self, limbs: usize, out: &mut Vec<u64>) {
        let stride = self.cobasis.len() + 1;
        let coordinates = self.entries[self.others.len() * stride..].chunks_exact(stride);
        let numerators = coordinates.map(|c| &c[stride - 1]);
        // Coordinates of several words are brought to lowest terms later, when the caller asks for them.
        for x in numerators.chain([&self.determinant]) {
            if self.determinant.is_negative() {
                push_integer(&-x, limbs, out);
            } else {
                push_integer(x, limbs, out);
            }
        }
    }
}
