//! The rank of integer rows.
//!
//! Elimination modulo a prime takes the same time whatever the size of the numbers. Rows that are
//! independent modulo a prime are independent. If they are dependent modulo the prime, one of three
//! arguments decides:
//! * If every minor is smaller than half of the prime, a minor is zero if and only if its residue is
//!   zero. So the rows are dependent.
//! * Otherwise, a vector x ≠ 0 with row·x = 0 for every row proves that the rows do not span the space.
//!   If its entries are small, they can be recovered from their residues modulo the prime
//!   ([`short_fraction`]). Then the products are checked in integers.
//! * Otherwise, the elimination is repeated modulo other primes. A minor m ≠ 0 is divisible by at most
//!   log₂|m| / log₂ p primes of the size of p. If the rows do not span the space modulo more primes than
//!   that, they do not span it.

use std::sync::OnceLock;

use num_bigint::BigInt;
use num_traits::Zero;

use super::field::Field;
use super::mersenne::Mersenne61;
use super::montgomery::Montgomery;
use super::word::Word;
use crate::{Control, Result};

/// Whether these rows of `width` integers have rank `width`.
///
/// `minors_fit` states that every minor is below 2⁶⁰ in magnitude.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only. The stop flag is checked for every row.
pub fn is_full_rank<'a, W: Word>(
    rows: impl Iterator<Item = &'a [W]> + Clone,
    width: usize,
    minors_fit: bool,
    control: &Control,
) -> Result<bool> {
    if rows.clone().take(width).count() < width {
        return Ok(false);
    }
    let residues = rows.clone().map(|row| {
        let row = row.iter().map(|x| Mersenne61::of(x.to_i128()));
        row.collect::<Vec<_>>()
    });
    let found = echelon(residues, width, control)?;
    if found.len() == width {
        return Ok(true);
    }
    if minors_fit || vanish_together(&found, rows.clone(), width) {
        return Ok(false);
    }
    let bits = rows.clone().map(norm_bits).collect::<Vec<f64>>();
    spans_modulo_any(rows, width, bits, control)
}

/// Up to `width` independent rows, each with the column of its pivot, by elimination without division.
pub fn echelon(
    rows: impl Iterator<Item = Vec<Mersenne61>>,
    width: usize,
    control: &Control,
) -> Result<Vec<(usize, Vec<Mersenne61>)>> {
    let mut found: Vec<(usize, Vec<Mersenne61>)> = Vec::with_capacity(width);
    for mut row in rows {
        control.check()?;
        for (pivot, other) in &found {
            let ours = row[*pivot];
            if !ours.is_zero() {
                for (value, by) in row.iter_mut().zip(other) {
                    *value = value.times(&other[*pivot]).minus_product(&ours, by);
                }
            }
        }
        if let Some(pivot) = row.iter().position(|x| !x.is_zero()) {
            found.push((pivot, row));
            if found.len() == width {
                break;
            }
        }
    }
    Ok(found)
}

/// Whether some vector of small integers, not all 0, is orthogonal to every row.
fn vanish_together<'a, W: Word>(
    echelon: &[(usize, Vec<Mersenne61>)],
    rows: impl Iterator<Item = &'a [W]>,
    width: usize,
) -> bool {
    let Some(free) = (0..width).find(|c| echelon.iter().all(|(pivot, _)| pivot != c)) else {
        return false;
    };
    // The entry of the first column without a pivot is 1, those of other such columns are 0. The pivots'
    // entries follow from the rows, from the last row to the first.
    let mut kernel = vec![Mersenne61::zero(); width];
    kernel[free] = Mersenne61::one();
    for (pivot, row) in echelon.iter().rev() {
        let mut rest = Mersenne61::zero();
        for (c, (x, y)) in row.iter().zip(&kernel).enumerate() {
            if c != *pivot {
                rest = rest.minus_product(x, y);
            }
        }
        kernel[*pivot] = rest.times(&row[*pivot].inverse());
    }
    // Multiply by the denominator of each entry, one after the other, so that all entries are integers.
    let mut vector = Vec::with_capacity(width);
    let mut common = 1i128;
    for value in &kernel {
        let scaled = value.times(&Mersenne61::of(common));
        let Some((numerator, denominator)) = short_fraction(scaled) else {
            return false;
        };
        vector
            .iter_mut()
            .for_each(|x: &mut BigInt| *x *= denominator);
        common *= i128::from(denominator);
        if common >= 1 << 60 {
            return false;
        }
        vector.push(BigInt::from(numerator));
    }
    let mut rows = rows;
    rows.all(|row| {
        let terms = row.iter().zip(&vector);
        terms
            .map(|(x, y)| BigInt::from(x.to_i128()) * y)
            .sum::<BigInt>()
            .is_zero()
    })
}

/// The fraction n/m with |n| and m below 2³⁰ that has this residue, if there is one. Source: P. S. Wang,
/// 1981; it is Euclid's algorithm, stopped half way.
fn short_fraction(value: Mersenne61) -> Option<(i64, i64)> {
    const SHORT: i64 = 1 << 30;
    let (mut high, mut low) = (Mersenne61::PRIME as i64, value.value() as i64);
    let (mut before, mut factor) = (0i64, 1i64);
    while low >= SHORT {
        let quotient = high / low;
        (high, low) = (low, high - quotient * low);
        (before, factor) = (factor, before - quotient * factor);
    }
    if factor == 0 || factor.abs() >= SHORT {
        return None;
    }
    Some(if factor < 0 {
        (-low, -factor)
    } else {
        (low, factor)
    })
}

/// An upper bound on log₂ of the norm of a row.
fn norm_bits<W: Word>(row: &[W]) -> f64 {
    let squares = row.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
    (squares.max(1.0).log2() / 2.0 + 0.01).max(0.01)
}

/// Whether the rows span the space, by elimination modulo as many primes as the module's last argument
/// needs.
fn spans_modulo_any<'a, W: Word>(
    rows: impl Iterator<Item = &'a [W]> + Clone,
    width: usize,
    mut bits: Vec<f64>,
    control: &Control,
) -> Result<bool> {
    // Hadamard's bound: no minor is larger than the product of the `width` largest norms.
    bits.sort_unstable_by(|a, b| b.total_cmp(a));
    let largest = bits.iter().take(width).sum::<f64>();
    let needed = (largest / Montgomery::LEAST_BITS) as usize + 1;
    for at in 0..needed {
        control.check()?;
        let field = Montgomery::new(nth_prime(at));
        let residues = rows.clone().map(|row| {
            let row = row.iter().map(|x| field.residue(x.to_i128()));
            row.collect::<Vec<u64>>()
        });
        if spans_modulo(&field, residues, width, control)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether these residues have `width` independent rows.
fn spans_modulo(
    field: &Montgomery,
    rows: impl Iterator<Item = Vec<u64>>,
    width: usize,
    control: &Control,
) -> Result<bool> {
    let mut found: Vec<(usize, Vec<u64>)> = Vec::with_capacity(width);
    for mut row in rows {
        control.check()?;
        for (pivot, other) in &found {
            let ours = row[*pivot];
            if ours != 0 {
                for (value, by) in row.iter_mut().zip(other) {
                    let scaled = field.times(*value, other[*pivot]);
                    *value = field.minus(scaled, field.times(ours, *by));
                }
            }
        }
        if let Some(pivot) = row.iter().position(|x| *x != 0) {
            found.push((pivot, row));
            if found.len() == width {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The `at`-th prime below 2⁶², from the largest down.
fn nth_prime(at: usize) -> u64 {
    /// Primes are searched in batches. Each batch is searched once in a process.
    const BATCH: usize = 64;
    const BATCHES: usize = 64;
    static FOUND: [OnceLock<Vec<u64>>; BATCHES] = [const { OnceLock::new() }; BATCHES];
    let batch = |b: usize| -> &[u64] {
        // Search the earlier batches first, so that no initialiser calls another one.
        for k in 0..=b {
            FOUND[k].get_or_init(|| {
                let above = if k == 0 {
                    1 << 62
                } else {
                    FOUND[k - 1]
                        .get()
                        .map_or(1 << 62, |primes| primes[BATCH - 1])
                };
                let odd = (0..).map(|step| ((above - 1) | 1) - 2 * step - 2 * u64::from(k > 0));
                odd.filter(|n| Montgomery::is_prime(*n))
                    .take(BATCH)
                    .collect()
            });
        }
        FOUND[b].get().map_or(&[], Vec::as_slice)
    };
    // A minor of 64 columns with entries of 127 bits needs 134 primes, and there are 4096.
    batch((at / BATCH).min(BATCHES - 1))[at % BATCH]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use num_rational::Ratio;

    fn full(rows: &[Vec<i128>], width: usize) -> bool {
        let rows = rows.iter().map(Vec::as_slice);
        is_full_rank(rows, width, false, &Control::new()).unwrap()
    }

    /// The slow, plain version: Gaussian elimination in fractions.
    fn full_in_fractions(rows: &[Vec<i128>], width: usize) -> bool {
        let mut rows: Vec<Vec<Ratio<BigInt>>> = rows
            .iter()
            .map(|row| row.iter().map(|x| BigInt::from(*x).into()).collect())
            .collect();
        let mut rank = 0;
        for c in 0..width {
            let Some(at) = (rank..rows.len()).find(|r| rows[*r][c] != Ratio::from(BigInt::from(0)))
            else {
                continue;
            };
            rows.swap(rank, at);
            let pivot = rows[rank].clone();
            for row in &mut rows[rank + 1..] {
                let by = &row[c] / &pivot[c];
                for (x, y) in row.iter_mut().zip(&pivot) {
                    *x -= &by * y;
                }
            }
            rank += 1;
        }
        rank == width
    }

    #[test]
    fn a_minor_that_the_prime_divides_is_not_zero() {
        let p = i128::from(Mersenne61::PRIME);
        assert!(full(&[vec![p, 0], vec![0, 1]], 2));
        assert!(!full(&[vec![p, 3], vec![2 * p, 6]], 2));
        // The same for the first of the other primes.
        let q = i128::from(nth_prime(0));
        assert!(full(&[vec![p * q, 0], vec![0, 4]], 2));
        assert!(full(
            &[
                vec![p, 0, 0],
                vec![0, q, 0],
                vec![0, 0, i128::from(nth_prime(1))]
            ],
            3
        ));
    }

    #[test]
    fn primes_fall() {
        let primes: Vec<u64> = (0..200).map(nth_prime).collect();
        assert!(primes.windows(2).all(|pair| pair[0] > pair[1]));
        // The largest prime below 2^62 is 2^62 − 57.
        assert_eq!(primes[0], (1 << 62) - 57);
    }

    #[test]
    fn a_cancelled_test_says_so() {
        let control = Control::new();
        control.cancel();
        let rows = [vec![1i128, 0], vec![0, 1]];
        let rows = rows.iter().map(Vec::as_slice);
        assert!(is_full_rank(rows, 2, false, &control).is_err());
    }

    proptest! {
        #[test]
        fn it_is_the_rank_of_fractions(
            (rows, mix, width) in (1usize..7).prop_flat_map(|width| (
                proptest::collection::vec(proptest::collection::vec(-3i128..4, width), 0..9),
                proptest::collection::vec(proptest::collection::vec(-(1i128 << 40)..1 << 40, width), width),
                Just(width),
            )),
        ) {
            prop_assert_eq!(full(&rows, width), full_in_fractions(&rows, width));
            // Long numbers of the same rank, or of a smaller one.
            let long: Vec<Vec<i128>> = rows
                .iter()
                .map(|row| (0..width).map(|c| (0..width).map(|k| row[k] * mix[k][c]).sum()).collect())
                .collect();
            prop_assert_eq!(full(&long, width), full_in_fractions(&long, width));
        }
    }
}
