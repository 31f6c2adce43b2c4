//! The rank of integer rows.

use num_bigint::BigInt;
use num_traits::Zero;

use super::field::Field;
use super::mersenne::Mersenne61;
use super::word::Word;

/// Whether these rows of `width` integers have rank `width`.
///
/// Rows that are independent modulo a prime are independent. The converse holds where no minor is a
/// multiple of the prime but 0, which the caller knows where `minors_fit`; elsewhere a second
/// look, in big integers, decides.
pub fn is_full_rank<'a, W: Word>(
    rows: impl Iterator<Item = &'a [W]> + Clone,
    width: usize,
    minors_fit: bool,
) -> bool {
    let residues = rows.clone().map(|row| {
        let row = row.iter().map(|x| Mersenne61::of(x.to_i128()));
        row.collect::<Vec<_>>()
    });
    if echelon(residues, width, |value, theirs, ours, by| {
        value.times(theirs).minus_product(ours, by)
    }) {
        return true;
    }
    if minors_fit {
        return false;
    }
    let integers = rows.map(|row| {
        let row = row.iter().map(|x| BigInt::from(x.to_i128()));
        row.collect::<Vec<_>>()
    });
    echelon(integers, width, |value, theirs, ours, by| {
        value * theirs - ours * by
    })
}

/// Whether elimination without division, by `step`, finds `width` independent rows.
fn echelon<T: Clone + IsZero>(
    rows: impl Iterator<Item = Vec<T>>,
    width: usize,
    step: impl Fn(&T, &T, &T, &T) -> T,
) -> bool {
    let mut found: Vec<(usize, Vec<T>)> = Vec::with_capacity(width);
    for mut row in rows {
        for (pivot, other) in &found {
            let ours = row[*pivot].clone();
            if !ours.vanishes() {
                for (value, by) in row.iter_mut().zip(other) {
                    *value = step(value, &other[*pivot], &ours, by);
                }
            }
        }
        if let Some(pivot) = row.iter().position(|x| !x.vanishes()) {
            found.push((pivot, row));
            if found.len() == width {
                return true;
            }
        }
    }
    false
}

trait IsZero {
    fn vanishes(&self) -> bool;
}

impl IsZero for Mersenne61 {
    fn vanishes(&self) -> bool {
        Field::is_zero(self)
    }
}

impl IsZero for BigInt {
    fn vanishes(&self) -> bool {
        Zero::is_zero(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_that_the_prime_divides_is_not_zero() {
        let p = i128::from(Mersenne61::PRIME);
        let rows = [vec![p, 0i128], vec![0, 1]];
        let rows = || rows.iter().map(Vec::as_slice);
        assert!(is_full_rank(rows(), 2, false));
        let dependent = [vec![p, 3i128], vec![2 * p, 6]];
        assert!(!is_full_rank(dependent.iter().map(Vec::as_slice), 2, false));
    }
}
