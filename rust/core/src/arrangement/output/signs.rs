//! The side of every hyperplane on which every point lies.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};
use rayon::prelude::*;

use super::vertex::Points;
use crate::arrangement::arithmetic::integer;
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

/// If the entries of a row have at most this many bits, and there are at most this many, the sum of their
/// products with 64-bit coordinates fits 128 bits.
const ENTRY_BITS: u64 = 55;
const MOST_TERMS: usize = 128;

/// The sign of a·x − b for each point and each hyperplane of the arrangement, point by point.
///
/// Time O(n·d) for each point.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn signs(arrangement: &Arrangement, points: &Points, control: &Control) -> Result<Vec<i8>> {
    let rows = arrangement.rows();
    let (dimension, limbs) = (points.dimension, points.limbs);
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let fits = rows.iter().flatten().all(|x| x.bits() <= ENTRY_BITS);
    let small: Option<Vec<i64>> = (fits && limbs == 1 && dimension < MOST_TERMS).then(|| {
        rows.iter()
            .flatten()
            .filter_map(ToPrimitive::to_i64)
            .collect()
    });
    let width = dimension + 1;
    let mut all = vec![0; points.len() * rows.len()];
    all.par_chunks_exact_mut(rows.len())
        .zip(points.numbers.par_chunks_exact(width * limbs))
        .try_for_each(|(out, point)| {
            control.check()?;
            if let Some(small) = &small {
                for (sign, row) in out.iter_mut().zip(small.chunks_exact(width)) {
                    let mut value = 0i128;
                    for (at, (a, x)) in row.iter().zip(point).enumerate() {
                        let term = i128::from(*a) * i128::from(*x as i64);
                        value += if at < dimension { term } else { -term };
                    }
                    *sign = value.signum() as i8;
                }
                return Ok(());
            }
            let point: Vec<BigInt> = point.chunks_exact(limbs).map(integer).collect();
            for (sign, row) in out.iter_mut().zip(rows) {
                control.check()?;
                let mut value = -(&row[dimension] * &point[dimension]);
                for (a, x) in row[..dimension].iter().zip(&point) {
                    value += a * x;
                }
                *sign = value.signum().to_i8().unwrap_or_default();
            }
            Ok(())
        })?;
    Ok(all)
}
