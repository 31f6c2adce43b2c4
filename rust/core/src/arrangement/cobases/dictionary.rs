//! Dictionaries: an arrangement as seen from one of its cobases.
//!
//! The *slack* of hyperplane i at x is a_i·x − b_i. A *cobasis* N is a set of d hyperplanes with
//! independent normals. Its dictionary writes the slack of every other hyperplane, and every coordinate
//! of the space, as an affine function of the slacks of N: slack_i = Σ_{j∈N} D\[i\]\[j\]·slack_j +
//! constant_i. At the vertex of N the slacks of N are 0. So constant_i is the slack of hyperplane i at
//! that vertex.

use super::tableau::Tableau;
use crate::Control;
use crate::arrangement::arithmetic::{Field, push_integer};
use crate::arrangement::input::Arrangement;

/// Stands for a coordinate of the space, until the first cobasis is reached.
const COORDINATE: u32 = u32::MAX;

/// The dictionary of a cobasis.
#[derive(Clone, Debug)]
pub struct Dictionary<F> {
    /// The hyperplanes of the cobasis, one a column.
    pub cobasis: Vec<u32>,
    /// The other hyperplanes, one a row.
    pub others: Vec<u32>,
    /// d entries and a constant for each of the other hyperplanes, and then for each coordinate.
    entries: Vec<F>,
    /// The determinant of the normals of the cobasis, up to its sign.
    determinant: F,
    /// Checked between rows, because a pivot in a wide field can take minutes.
    control: Control,
}

impl<F: Field> Dictionary<F> {
    /// The dictionary of the lexicographically largest cobasis. `None` if the normals do not span the
    /// space, or if the caller has cancelled.
    ///
    /// The greedy algorithm finds it: from the last hyperplane to the first, each hyperplane that is
    /// independent of those before it is exchanged for a coordinate.
    pub fn terminal(arrangement: &Arrangement, control: &Control) -> Option<Self> {
        let dimension = arrangement.dimension();
        let mut entries = Vec::new();
        for row in arrangement.rows() {
            control.check().ok()?;
            entries.extend(row[..dimension].iter().map(F::from_integer));
            entries.push(F::from_integer(&-&row[dimension]));
        }
        for coordinate in 0..dimension {
            let unit = |c| if c == coordinate { F::one() } else { F::zero() };
            entries.extend((0..=dimension).map(unit));
        }
        let mut dictionary = Self {
            cobasis: vec![COORDINATE; dimension],
            others: (0..arrangement.rows().len() as u32).collect(),
            entries,
            determinant: F::one(),
            control: control.clone(),
        };
        for row in (0..dictionary.others.len()).rev() {
            control.check().ok()?;
            let column = (0..dimension).find(|&c| {
                dictionary.cobasis[c] == COORDINATE && !dictionary.entry(row, c).is_zero()
            });
            if let Some(column) = column
                && !dictionary.pivot(row, column)
            {
                return None;
            }
        }
        // The row of each exchanged hyperplane now holds a coordinate. The coordinate rows have it too, so
        // it is dropped here.
        let stride = dimension + 1;
        let mut entries = Vec::with_capacity(dictionary.entries.len());
        for (row, chunk) in dictionary.entries.chunks_exact(stride).enumerate() {
            if dictionary.others.get(row) != Some(&COORDINATE) {
                entries.extend_from_slice(chunk);
            }
        }
        dictionary.entries = entries;
        dictionary.others.retain(|&i| i != COORDINATE);
        (!dictionary.cobasis.contains(&COORDINATE)).then_some(dictionary)
    }

    /// D\[others\[row\]\]\[cobasis\[column\]\].
    pub fn entry(&self, row: usize, column: usize) -> &F {
        &self.entries[row * (self.cobasis.len() + 1) + column]
    }

    /// The determinant of the cobasis' normals, up to its sign.
    pub fn determinant(&self) -> &F {
        &self.determinant
    }
}

impl<F: Field> Tableau for Dictionary<F> {
    fn cobasis(&self) -> &[u32] {
        &self.cobasis
    }
    fn others(&self) -> &[u32] {
        &self.others
    }
    fn vanishes(&self, row: usize, column: usize) -> bool {
        self.entry(row, column).is_zero()
    }
    fn pivot(&mut self, row: usize, column: usize) -> bool {
        let stride = self.cobasis.len() + 1;
        let pivot = self.entry(row, column).clone();
        self.determinant = self.determinant.times(&pivot);
        let inverse = pivot.inverse();
        let minus = inverse.negated();
        // Solve the equation of `row` for the slack that leaves the cobasis …
        let solved: Vec<F> = self.entries[row * stride..(row + 1) * stride]
            .iter()
            .enumerate()
            .map(|(c, x)| {
                if c == column {
                    inverse.clone()
                } else {
                    x.times(&minus)
                }
            })
            .collect();
        // … and substitute it in every other equation.
        for (other, entries) in self.entries.chunks_exact_mut(stride).enumerate() {
            if self.control.check().is_err() {
                return false;
            }
            if other == row {
                entries.clone_from_slice(&solved);
                continue;
            }
            let factor = std::mem::replace(&mut entries[column], F::zero());
            if !factor.is_zero() {
                for (value, by) in entries.iter_mut().zip(&solved) {
                    *value = value.plus(&factor.times(by));
                }
            }
        }
        std::mem::swap(&mut self.others[row], &mut self.cobasis[column]);
        true
    }

    fn assign(&mut self, other: &Self) {
        self.cobasis.clone_from(&other.cobasis);
        self.others.clone_from(&other.others);
        self.entries.clone_from(&other.entries);
        self.determinant = other.determinant.clone();
    }

    fn set_control(&mut self, control: &Control) {
        self.control = control.clone();
    }

    fn push_vertex(&self, limbs: usize, out: &mut Vec<u64>) {
        let stride = self.cobasis.len() + 1;
        let coordinates = self.entries[self.others.len() * stride..].chunks_exact(stride);
        let point: Vec<F> = coordinates.map(|c| c[stride - 1].clone()).collect();
        let mut vertex = Vec::with_capacity(stride);
        F::push_vertex(&point, &self.determinant, &mut vertex);
        for x in vertex {
            push_integer(&x.into(), limbs, out);
        }
    }
}
