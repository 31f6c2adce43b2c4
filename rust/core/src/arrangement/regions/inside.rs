//! A point inside a region, in the coordinates of the space.

use super::cone::step;
use super::level::{Level, Numbers};
use super::point_table::PointTable;
use super::short_point::{Proposal, Rows};
use crate::arrangement::arithmetic::exact::{Exact, dot, reduce};

/// The points of the regions that begin at the vertices of a level.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    pub level: &'a Level,
    /// The hyperplanes in the space, if the coordinates of the first level are those of the space. The numbers
    /// of a lower level are long, and the regions that meet it are wide. So their short points are looked for
    /// in the space.
    pub space: Option<&'a Rows>,
    pub is_first: bool,
}

impl Inside<'_> {
    /// Append a point of the region that begins at a vertex in this direction. `values` are those of the
    /// hyperplanes at the vertex, and `signs` those in the region. `None` if a number overflows.
    pub(super) fn push<N: Exact>(
        &self,
        numbers: &Numbers<N>,
        (vertex, values, direction): (&[N], &[N], &[N]),
        signs: &[i8],
        proposal: &mut Proposal,
        points: &mut PointTable,
    ) -> Option<()> {
        let level = self.level;
        let short = level.short.propose(values, vertex, direction, proposal);
        let short = short.and_then(|length| match self.space {
            Some(space) if !self.is_first => space.lifted(&level.float_lift, signs, proposal),
            _ => level.short.at_step(length, signs, proposal),
        });
        if short.is_some() {
            if self.space.is_some() {
                points.push(&proposal.point);
                return Some(());
            }
            let small = level.small.as_ref();
            if let Some(point) = small.and_then(|small| lift(small, &proposal.point)) {
                points.push(&point);
                return Some(());
            }
        }
        let exact = lift(numbers, &step(&numbers.rows, values, vertex, direction)?)?;
        // Floats may have lost the way from the level's coordinates to those of the space.
        match self.space {
            Some(space) if space.next_to(&exact, signs, proposal).is_some() => {
                points.push(&proposal.point);
            }
            _ => points.push(&exact),
        }
        Some(())
    }
}

/// A point of a level in the coordinates of the space.
fn lift<N: Exact>(numbers: &Numbers<N>, point: &[N]) -> Option<Vec<N>> {
    let (denominator, numerators) = point.split_last()?;
    let mut lifted = Vec::with_capacity(numbers.lift.len() + 1);
    for row in &numbers.lift {
        let (constant, coefficients) = row.split_last()?;
        let constant = constant.times(denominator)?;
        lifted.push(dot(coefficients, numerators)?.plus(&constant)?);
    }
    lifted.push(denominator.times(&numbers.divisor)?);
    if numbers.divisor != N::one() {
        reduce(&mut lifted);
    }
    Some(lifted)
}
