//! Which hyperplanes contain which vertices.

use num_bigint::BigInt;
use num_traits::Zero;
use rayon::prelude::*;

use super::vertex::Points;
use crate::arrangement::arithmetic::{integer, push_integer};
use crate::arrangement::input::{Arrangement, Bound};
use crate::{Control, Result};

/// The hyperplanes that contain each point. The first vector has, for each point, the place in the second
/// vector at which its hyperplanes begin. Their numbers are rising.
///
/// If the value of a hyperplane at a vertex is not 0, its lowest word usually shows that. The others are
/// computed as integers.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn incidence(
    arrangement: &Arrangement,
    points: &Points,
    control: &Control,
) -> Result<(Vec<u64>, Vec<u32>)> {
    let (width, limbs) = (points.dimension + 1, points.limbs);
    // [a|−b] modulo 2⁶⁴.
    let mut lowest = Vec::with_capacity(arrangement.rows().len() * width);
    let mut word = Vec::new();
    for row in arrangement.rows() {
        control.check()?;
        for (at, x) in row.iter().enumerate() {
            word.clear();
            push_integer(x, 1, &mut word);
            let low = word[0];
            lowest.push(if at + 1 == width {
                low.wrapping_neg()
            } else {
                low
            });
        }
    }
    // The values have fewer than 64 bits.
    let fits = Bound::of(arrangement.rows(), arrangement.dimension(), control)?.limbs() == 1;
    let through = points
        .numbers
        .par_chunks_exact(width * limbs)
        .map(|point| {
            control.check()?;
            let mut long: Option<Vec<BigInt>> = None;
            let mut numbers = Vec::new();
            for (number, row) in lowest.chunks_exact(width).enumerate() {
                let factors = row.iter().zip(point.chunks_exact(limbs));
                let low = factors.fold(0u64, |sum, (a, x)| sum.wrapping_add(a.wrapping_mul(x[0])));
                if low != 0 {
                    continue;
                }
                if !fits {
                    control.check()?;
                    let point = long
                        .get_or_insert_with(|| point.chunks_exact(limbs).map(integer).collect());
                    if !contains(&arrangement.rows()[number], point) {
                        continue;
                    }
                }
                numbers.push(number as u32);
            }
            Ok(numbers)
        })
        .collect::<Result<Vec<Vec<u32>>>>()?;
    let mut starts = vec![0];
    for numbers in &through {
        starts.push(starts[starts.len() - 1] + numbers.len() as u64);
    }
    Ok((starts, through.concat()))
}

/// Whether a hyperplane [a|b] contains a point in homogeneous coordinates.
fn contains(row: &[BigInt], point: &[BigInt]) -> bool {
    let last = point.len() - 1;
    let mut value = -(&row[last] * &point[last]);
    for (a, x) in row[..last].iter().zip(point) {
        value += a * x;
    }
    value.is_zero()
}
