//! The restriction of an arrangement to a flat.
//!
//! On a flat of dimension r, every other hyperplane is a row of r coefficients and a right-hand side. It
//! misses the flat if all coefficients are 0. Two hyperplanes meet the flat in the same place if and only
//! if their rows are proportional. Such hyperplanes are one *class*. A class is one hyperplane of the
//! restriction, and a flat of dimension r − 1.
//!
//! Rows are scaled so that their first coefficient ≠ 0 is 1. Then elimination needs no division, and
//! proportional rows are equal.

use crate::arrangement::arithmetic::{Field, invert_all, inverted_together};
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

/// A set of hyperplanes as bits, the first in the lowest bit of the first word.
pub(super) type Bits = Box<[u64]>;

/// Invert all numbers, none of which is 0.
fn invert<F: Field>(numbers: &mut [F], products: &mut Vec<F>, control: &Control) -> Result<()> {
    for numbers in numbers.chunks_mut(inverted_together::<F>()) {
        control.check()?;
        invert_all(numbers, products);
    }
    Ok(())
}

/// The classes of hyperplanes on a flat.
#[derive(Clone, Debug)]
pub struct Restriction<F> {
    /// Dimension of the flat.
    dimension: usize,
    /// 64-bit words of a set of hyperplanes.
    words: usize,
    /// For each class its row: `dimension` coefficients and the right-hand side. The first coefficient ≠ 0 is 1.
    rows: Vec<F>,
    /// For each class its members, as bits.
    members: Vec<u64>,
    /// For each class its first member.
    first: Vec<u32>,
}

/// Memory for [`Restriction::on`].
#[derive(Debug)]
pub(super) struct Scratch<F> {
    rows: Vec<F>,
    leads: Vec<F>,
    products: Vec<F>,
    /// For each row the class from which it was computed.
    from: Vec<usize>,
    order: Vec<usize>,
}

impl<F> Default for Scratch<F> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            leads: Vec::new(),
            products: Vec::new(),
            from: Vec::new(),
            order: Vec::new(),
        }
    }
}

impl<F: Field> Restriction<F> {
    /// The restriction to the whole space. Each hyperplane is a class, because they are distinct.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn whole(arrangement: &Arrangement, control: &Control) -> Result<Self> {
        let (count, dimension) = (arrangement.rows().len(), arrangement.dimension());
        let words = count.div_ceil(64);
        let mut whole = Self {
            dimension,
            words,
            rows: Vec::with_capacity(count * (dimension + 1)),
            members: vec![0; count * words],
            first: (0..count as u32).collect(),
        };
        let mut leads = Vec::with_capacity(count);
        for (number, row) in arrangement.rows().iter().enumerate() {
            control.check()?;
            let start = whole.rows.len();
            whole.rows.extend(row.iter().map(F::from_integer));
            let lead = whole.rows[start..].iter().find(|x| !x.is_zero());
            leads.extend(lead.cloned());
            whole.members[number * words + number / 64] = 1 << (number % 64);
        }
        invert(&mut leads, &mut Vec::new(), control)?;
        for (row, inverse) in whole.rows.chunks_exact_mut(dimension + 1).zip(&leads) {
            control.check()?;
            row.iter_mut().for_each(|x| *x = x.times(inverse));
        }
        Ok(whole)
    }

    /// Dimension of the flat.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether no hyperplane meets the flat properly.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first member of each class.
    pub fn first(&self) -> &[u32] {
        &self.first
    }

    /// The members of a class, as bits.
    pub fn members(&self, class: usize) -> &[u64] {
        &self.members[class * self.words..][..self.words]
    }

    /// The class of a hyperplane. `None` if the hyperplane contains or misses the flat.
    pub fn class_of(&self, hyperplane: u32) -> Option<usize> {
        let (word, bit) = (hyperplane as usize / 64, hyperplane % 64);
        (0..self.len()).find(|class| self.members[class * self.words + word] >> bit & 1 == 1)
    }

    /// The restriction to the flat that a class cuts out of this one.
    ///
    /// Time O(c·(r + log c)) for c classes on a flat of dimension r.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub(super) fn on(
        &self,
        class: usize,
        scratch: &mut Scratch<F>,
        control: &Control,
    ) -> Result<Self> {
        let width = self.dimension + 1;
        let pivot_row = &self.rows[class * width..][..width];
        let column = pivot_row
            .iter()
            .position(|x| !x.is_zero())
            .unwrap_or_default();
        scratch.rows.clear();
        scratch.leads.clear();
        scratch.from.clear();
        for (other, row) in self.rows.chunks_exact(width).enumerate() {
            if other == class {
                continue;
            }
            control.check()?;
            let start = scratch.rows.len();
            let factor = &row[column];
            for (at, (x, y)) in row.iter().zip(pivot_row).enumerate() {
                if at != column {
                    scratch.rows.push(x.minus_product(factor, y));
                }
            }
            let coefficients = &scratch.rows[start..start + self.dimension - 1];
            match coefficients.iter().find(|x| !x.is_zero()) {
                Some(lead) => {
                    scratch.leads.push(lead.clone());
                    scratch.from.push(other);
                }
                // A row of zeros: this hyperplane is parallel to the smaller flat.
                None => scratch.rows.truncate(start),
            }
        }
        invert(&mut scratch.leads, &mut scratch.products, control)?;
        let width = self.dimension;
        if width > 1 {
            for (row, inverse) in scratch.rows.chunks_exact_mut(width).zip(&scratch.leads) {
                control.check()?;
                row.iter_mut().for_each(|x| *x = x.times(inverse));
            }
        }
        Ok(self.grouped(scratch))
    }

    /// Group equal rows as classes, in the order of their first members.
    fn grouped(&self, scratch: &mut Scratch<F>) -> Self {
        let width = self.dimension;
        let row = |number: usize| &scratch.rows[number * width..][..width];
        let first = |number: usize| self.first[scratch.from[number]];
        scratch.order.clear();
        scratch.order.extend(0..scratch.from.len());
        let order = &mut scratch.order;
        order.sort_unstable_by(|a, b| row(*a).cmp(row(*b)).then(first(*a).cmp(&first(*b))));
        // The first row of each run of equal rows represents the class.
        let mut starts: Vec<(u32, usize)> = Vec::new();
        for (at, number) in order.iter().enumerate() {
            if at == 0 || row(order[at - 1]) != row(*number) {
                starts.push((first(*number), at));
            }
        }
        starts.sort_unstable();
        let mut grouped = Self {
            dimension: self.dimension - 1,
            words: self.words,
            rows: Vec::with_capacity(starts.len() * width),
            members: vec![0; starts.len() * self.words],
            first: Vec::with_capacity(starts.len()),
        };
        for (class, (least, start)) in starts.into_iter().enumerate() {
            let lead = order[start];
            grouped.first.push(least);
            grouped.rows.extend_from_slice(row(lead));
            let members = &mut grouped.members[class * self.words..][..self.words];
            for number in order[start..].iter().take_while(|n| row(**n) == row(lead)) {
                let more = self.members(scratch.from[*number]);
                members.iter_mut().zip(more).for_each(|(x, y)| *x |= y);
            }
        }
        grouped
    }
}
