//! Which hyperplanes contain which vertices.

use rayon::prelude::*;

use super::vertex::Points;
use crate::arrangement::arithmetic::push_integer;
use crate::arrangement::input::{Arrangement, Bound};
use crate::{Control, Result};

/// The hyperplanes that contain each point. The first vector has, for each point, the place in the second
/// vector at which its hyperplanes begin. Their numbers are rising.
///
/// The value of a hyperplane at a vertex is a minor of \[A|b\] divided by an integer. So it fits the
/// `limbs` words that every minor fits, and it is 0 if and only if it is 0 modulo 2^(64·limbs). If it is not
/// 0, its lowest word usually shows that.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn incidence(
    arrangement: &Arrangement,
    points: &Points,
    control: &Control,
) -> Result<(Vec<u64>, Vec<u32>)> {
    let limbs = Bound::of(arrangement.rows(), arrangement.dimension()).limbs();
    let mut rows = Vec::new();
    for row in arrangement.rows() {
        let (side, normal) = row.split_last().unwrap_or((&row[0], &[]));
        for x in normal.iter().chain(std::iter::once(&-side)) {
            // The entries of a row are minors too, so they fit.
            push_integer(x, limbs, &mut rows);
        }
    }
    let width = points.dimension + 1;
    let through = points
        .numbers
        .par_chunks_exact(width * points.limbs)
        .map(|point| {
            control.check()?;
            let rows = rows.chunks_exact(width * limbs).enumerate();
            Ok(rows
                .filter(|(_, row)| contains(row, point, limbs, points.limbs))
                .map(|(number, _)| number as u32)
                .collect())
        })
        .collect::<Result<Vec<Vec<u32>>>>()?;
    let mut starts = vec![0];
    for numbers in &through {
        starts.push(starts[starts.len() - 1] + numbers.len() as u64);
    }
    Ok((starts, through.concat()))
}

/// Whether Σ row·point is 0 modulo 2^(64·limbs). The numbers of the row have `limbs` words, and those of the
/// point `words` words.
fn contains(row: &[u64], point: &[u64], limbs: usize, words: usize) -> bool {
    let factors = || row.chunks_exact(limbs).zip(point.chunks_exact(words));
    let low = factors().fold(0u64, |sum, (a, x)| {
        sum.wrapping_add(a[0].wrapping_mul(x[0]))
    });
    if low != 0 || limbs == 1 {
        return low == 0;
    }
    let mut sum = vec![0u64; limbs];
    for (a, x) in factors() {
        let sign = ((x[words - 1] as i64) >> 63) as u64;
        for i in 0..limbs {
            let mut carry = 0u128;
            for j in 0..limbs - i {
                let x = x.get(j).copied().unwrap_or(sign);
                let term = u128::from(sum[i + j]) + u128::from(a[i]) * u128::from(x) + carry;
                sum[i + j] = term as u64;
                carry = term >> 64;
            }
        }
    }
    sum.iter().all(|word| *word == 0)
}
