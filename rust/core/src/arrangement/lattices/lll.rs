//! Short bases of lattices, by the algorithm of Lenstra, Lenstra and Lovász (LLL) in integers.
//!
//! The algorithm needs only inner products. So a lattice is given by the Gram matrix of a basis, and the
//! result is the change of basis. Let μᵢⱼ be the Gram–Schmidt coefficients, and dᵢ the determinant of the
//! Gram matrix of the first i + 1 vectors. The algorithm uses dᵢ and λᵢⱼ = dⱼ·μᵢⱼ, which are integers, and
//! every division leaves no remainder.
//!
//! Source: H. Cohen, *A Course in Computational Algebraic Number Theory*, algorithm 2.6.7 (the integral
//! form of B. de Weger).

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

use crate::{Control, Result};

/// The state of the algorithm: a basis that becomes shorter.
struct Basis {
    /// dᵢ.
    determinants: Vec<BigInt>,
    /// λᵢⱼ for j < i.
    lambda: Vec<Vec<BigInt>>,
    /// Each vector of the present basis, as a combination of the given vectors.
    change: Vec<Vec<BigInt>>,
}

/// A reduced basis of the lattice that all given vectors except the last one generate, and the last vector
/// made shorter by multiples of that basis. `gram` has the inner products of the given vectors, which are
/// independent except for the last. Each result is a row of coefficients of the given vectors.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn reduced(gram: &[Vec<BigInt>], control: &Control) -> Result<Vec<Vec<BigInt>>> {
    let mut basis = Basis::of(gram);
    let last = gram.len() - 1;
    let mut k = 1;
    while k < last {
        control.check()?;
        basis.shorten(k, k - 1);
        if basis.is_ordered(k) {
            (0..k - 1).rev().for_each(|l| basis.shorten(k, l));
            k += 1;
        } else {
            basis.swap(k);
            k = (k - 1).max(1);
        }
    }
    (0..last).rev().for_each(|l| basis.shorten(last, l));
    Ok(basis.change)
}

impl Basis {
    fn of(gram: &[Vec<BigInt>]) -> Self {
        let count = gram.len();
        let mut determinants: Vec<BigInt> = Vec::with_capacity(count);
        let mut lambda: Vec<Vec<BigInt>> = Vec::with_capacity(count);
        for (k, products) in gram.iter().enumerate() {
            let mut row: Vec<BigInt> = Vec::with_capacity(k + 1);
            for (j, product) in products[..=k].iter().enumerate() {
                let mut u = product.clone();
                for i in 0..j {
                    let theirs = if j == k { &row[i] } else { &lambda[j][i] };
                    u = &determinants[i] * u - &row[i] * theirs;
                    if i > 0 {
                        u /= &determinants[i - 1];
                    }
                }
                row.push(u);
            }
            determinants.extend(row.pop());
            lambda.push(row);
        }
        let unit = |i: usize| (0..count).map(move |c| BigInt::from(u8::from(c == i)));
        Self {
            determinants,
            lambda,
            change: (0..count).map(|i| unit(i).collect()).collect(),
        }
    }

    /// The determinant of the Gram matrix of the vectors before `at`.
    fn before(&self, at: usize) -> BigInt {
        at.checked_sub(1)
            .map_or_else(BigInt::one, |i| self.determinants[i].clone())
    }

    /// Subtract from vector k the multiple of vector l that makes it shortest.
    fn shorten(&mut self, k: usize, l: usize) {
        let divisor = &self.determinants[l];
        let twice: BigInt = &self.lambda[k][l] * 2;
        if twice.abs() <= *divisor {
            return;
        }
        let by = (twice + divisor).div_floor(&(divisor * 2));
        self.lambda[k][l] -= &by * divisor;
        subtract(&mut self.lambda, k, l, &by, l);
        subtract(&mut self.change, k, l, &by, usize::MAX);
    }

    /// Lovász' condition on vectors k − 1 and k, with the factor 3/4.
    fn is_ordered(&self, k: usize) -> bool {
        let lambda = &self.lambda[k][k - 1];
        let d = &self.determinants;
        4 * (&d[k] * self.before(k - 1) + lambda * lambda) >= 3 * (&d[k - 1] * &d[k - 1])
    }

    fn swap(&mut self, k: usize) {
        self.change.swap(k, k - 1);
        let (above, below) = self.lambda.split_at_mut(k);
        let (upper, lower) = (&mut above[k - 1], &mut below[0]);
        upper
            .iter_mut()
            .zip(lower)
            .for_each(|(x, y)| std::mem::swap(x, y));
        let lambda = self.lambda[k][k - 1].clone();
        let d = (
            self.determinants[k - 1].clone(),
            self.determinants[k].clone(),
        );
        let new = (self.before(k - 1) * &d.1 + &lambda * &lambda) / &d.0;
        for row in &mut self.lambda[k + 1..] {
            let old = row[k].clone();
            row[k] = (&d.1 * &row[k - 1] - &lambda * &old) / &d.0;
            row[k - 1] = (&new * old + &lambda * &row[k]) / &d.1;
        }
        self.determinants[k - 1] = new;
    }
}

/// Subtract by·row l from row k, in the first `count` entries.
fn subtract(rows: &mut [Vec<BigInt>], k: usize, l: usize, by: &BigInt, count: usize) {
    let (above, below) = rows.split_at_mut(k);
    for (x, y) in below[0].iter_mut().zip(&above[l]).take(count) {
        if !y.is_zero() {
            *x -= by * y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dot(a: &[BigInt], b: &[BigInt]) -> BigInt {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    fn combined(change: &[Vec<BigInt>], vectors: &[Vec<BigInt>]) -> Vec<Vec<BigInt>> {
        let sum =
            |row: &Vec<BigInt>, c: usize| row.iter().zip(vectors).map(|(x, v)| x * &v[c]).sum();
        let width = vectors[0].len();
        change
            .iter()
            .map(|row| (0..width).map(|c| sum(row, c)).collect())
            .collect()
    }

    fn gram(vectors: &[Vec<BigInt>]) -> Vec<Vec<BigInt>> {
        let row = |x: &Vec<BigInt>| vectors.iter().map(|y| dot(x, y)).collect();
        vectors.iter().map(row).collect()
    }

    fn determinant(gram: &[Vec<BigInt>]) -> BigInt {
        Basis::of(gram).determinants.pop().unwrap()
    }

    proptest! {
        #[test]
        fn a_reduced_basis_is_a_short_one(
            rows in proptest::collection::vec(proptest::collection::vec(-1i64 << 40..1 << 40, 6), 3..6),
        ) {
            let vectors: Vec<Vec<BigInt>> =
                rows.iter().map(|row| row.iter().map(|x| BigInt::from(*x)).collect()).collect();
            let count = vectors.len();
            let change = reduced(&gram(&vectors), &Control::new()).unwrap();
            let short = combined(&change, &vectors);
            // The lattice is the same: the change is unimodular, and no other vector has a part of the last.
            let (head, old) = (gram(&short[..count - 1]), gram(&vectors[..count - 1]));
            prop_assert_eq!(determinant(&head), determinant(&old));
            prop_assert!(change[..count - 1].iter().all(|row| row[count - 1].is_zero()));
            prop_assert!(change[count - 1][count - 1].is_one());
            // Lenstra, Lenstra and Lovász: the product of the squares is at most 2^(n(n−1)/2)·d.
            let squares: BigInt = (0..count - 1).map(|i| head[i][i].clone()).product();
            let n = count - 1;
            prop_assert!(squares <= determinant(&head) << (n * (n - 1) / 2));
        }
    }

    #[test]
    fn a_short_basis_is_found_again() {
        let n = |x: i64| BigInt::from(x);
        let short = [[1, 2, 0, 1], [0, 1, -1, 2], [3, 0, 1, 0], [100, -7, 5, 1]];
        let short: Vec<Vec<BigInt>> = short.iter().map(|row| row.map(n).to_vec()).collect();
        let mixed = [
            [99_991, 17, 3, 0],
            [12_345, 2, 1, 0],
            [777, 1, 5, 0],
            [31, 41, 59, 1],
        ];
        let mixed: Vec<Vec<BigInt>> = mixed.iter().map(|row| row.map(n).to_vec()).collect();
        let vectors = combined(&mixed, &short);
        let change = reduced(&gram(&vectors), &Control::new()).unwrap();
        let found = combined(&change, &vectors);
        assert!(
            found.iter().flatten().all(|x| x.abs() < n(1000)),
            "{found:?}"
        );
    }
}
