//! Scaling to magnitude 1, so that one tolerance fits every input.

use num_traits::ToPrimitive;

use super::flat::{FloatFlat, GONE, magnitude};
use crate::arrangement::arithmetic::Rational;
use crate::arrangement::input::Arrangement;
use crate::{Error, ErrorKind, Result};

/// 2^−e, where 2^e is the largest power of two that is not above the magnitude. 1 for the magnitude 0.
fn reciprocal_power_of_two(magnitude: f64) -> f64 {
    if magnitude == 0.0 {
        return 1.0;
    }
    (-magnitude.log2().floor()).exp2()
}

/// The arrangement in floats of magnitude 1, and the factor by which each coordinate has to be multiplied.
pub(super) fn scaled(arrangement: &Arrangement) -> Result<(FloatFlat, Vec<f64>)> {
    let dimension = arrangement.dimension();
    let stride = dimension + 1;
    let mut rows = Vec::with_capacity(arrangement.rows().len() * stride);
    for row in arrangement.rows() {
        // The integers have any size. Only their ratios to the largest coefficient have to be floats.
        let Some(scale) = row[..dimension]
            .iter()
            .map(|x| x.magnitude())
            .max()
            .cloned()
        else {
            continue;
        };
        for x in row {
            let ratio = Rational::new(x.clone(), scale.clone().into()).to_f64();
            rows.push(
                ratio
                    .filter(|x| x.is_finite())
                    .ok_or_else(|| out_of_range("a right-hand side"))?,
            );
        }
    }
    let mut scales = Vec::with_capacity(dimension);
    for column in 0..dimension {
        let entries = rows.iter().skip(column).step_by(stride);
        let scale = reciprocal_power_of_two(entries.fold(0.0, |m, x| x.abs().max(m)));
        rows.iter_mut()
            .skip(column)
            .step_by(stride)
            .for_each(|x| *x *= scale);
        scales.push(scale);
    }
    for row in rows.chunks_exact_mut(stride) {
        let scale = reciprocal_power_of_two(magnitude(&row[..dimension]));
        row.iter_mut().for_each(|x| *x *= scale);
    }
    let sides = rows.iter().skip(dimension).step_by(stride);
    let side_scale = reciprocal_power_of_two(sides.fold(0.0, |m, x| x.abs().max(m)));
    rows.iter_mut()
        .skip(dimension)
        .step_by(stride)
        .for_each(|x| *x *= side_scale);
    scales.iter_mut().for_each(|x| *x /= side_scale);
    let whole = FloatFlat {
        dimension,
        smallest: GONE,
        numbers: (0..(rows.len() / stride) as u32).collect(),
        rows,
        place: (0..dimension * stride)
            .map(|at| f64::from(u8::from(at / stride == at % stride)))
            .collect(),
    };
    Ok((whole, scales))
}

pub(super) fn out_of_range(what: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("{what} is beyond the range of float64: search exactly"),
    )
}
