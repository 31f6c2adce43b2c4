//! Vertices as the rows of a V-representation.

use super::number::Rational;
use num_bigint::BigInt;
use num_integer::Integer;

/// Append the row ` 1 x_1 … x_d` for each vertex, of which `numbers` hold d numerators and then a
/// positive denominator; every coordinate in lowest terms.
pub fn vertex_rows(numbers: &[i64], dimension: usize, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    for vertex in numbers.chunks_exact(dimension + 1) {
        let (numerators, denominator) = (&vertex[..dimension], vertex[dimension]);
        out.extend_from_slice(b" 1");
        for &numerator in numerators {
            // A denominator is positive, so the gcd of −2⁶³ with itself, which would overflow, does not
            // occur.
            let divisor = if denominator == 1 {
                1
            } else {
                numerator.gcd(&denominator)
            };
            out.push(b' ');
            out.extend_from_slice(digits.format(numerator / divisor).as_bytes());
            if divisor != denominator {
                out.push(b'/');
                out.extend_from_slice(digits.format(denominator / divisor).as_bytes());
            }
        }
        out.push(b'\n');
    }
}

/// Append the row ` head x_1 … x_d` for each d fractions in lowest terms, given as numerators and positive
/// denominators. Where d is 0, there is no telling how many rows there are, and none is written.
pub fn ratio_rows(
    numerators: &[i64],
    denominators: &[i64],
    dimension: usize,
    head: &str,
    out: &mut Vec<u8>,
) {
    if dimension == 0 {
        return;
    }
    let mut digits = itoa::Buffer::new();
    let rows = numerators.chunks_exact(dimension);
    for (row, below) in rows.zip(denominators.chunks_exact(dimension)) {
        out.push(b' ');
        out.extend_from_slice(head.as_bytes());
        for (numerator, denominator) in row.iter().zip(below) {
            out.push(b' ');
            out.extend_from_slice(digits.format(*numerator).as_bytes());
            if *denominator != 1 {
                out.push(b'/');
                out.extend_from_slice(digits.format(*denominator).as_bytes());
            }
        }
        out.push(b'\n');
    }
}

/// [`vertex_rows`] for numbers of any size.
pub fn big_vertex_rows(numbers: &[BigInt], dimension: usize, out: &mut Vec<u8>) {
    for vertex in numbers.chunks_exact(dimension + 1) {
        out.extend_from_slice(b" 1");
        for numerator in &vertex[..dimension] {
            let value = Rational::new(numerator.clone(), vertex[dimension].clone());
            out.extend_from_slice(format!(" {value}").as_bytes());
        }
        out.push(b'\n');
    }
}

/// Append rows of `columns` integers.
pub fn integer_rows(numbers: &[i64], columns: usize, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    for row in numbers.chunks_exact(columns) {
        for (c, number) in row.iter().enumerate() {
            if c > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(digits.format(*number).as_bytes());
        }
        out.push(b'\n');
    }
}

/// Append a row of fractions.
pub fn row(entries: &[Rational], out: &mut Vec<u8>) {
    for (c, entry) in entries.iter().enumerate() {
        let blank = if c == 0 { "" } else { " " };
        out.extend_from_slice(format!("{blank}{entry}").as_bytes());
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_integers_and_of_fractions_are_alike() {
        let numbers = [3, -1, i64::MIN, 0, 7, i64::MAX];
        let (mut integers, mut fractions) = (Vec::new(), Vec::new());
        integer_rows(&numbers, 3, &mut integers);
        for chunk in numbers.chunks_exact(3) {
            let entries: Vec<_> = chunk.iter().map(|x| BigInt::from(*x).into()).collect();
            row(&entries, &mut fractions);
        }
        assert_eq!(integers, fractions);
        assert!(integers.starts_with(b"3 -1 -9223372036854775808\n"));
    }

    #[test]
    fn fractions_are_written_behind_their_head() {
        let mut out = Vec::new();
        ratio_rows(&[1, -3, 0, 7], &[2, 4, 1, 1], 2, "0", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), " 0 1/2 -3/4\n 0 0 7\n");
    }

    #[test]
    fn coordinates_are_in_lowest_terms() {
        let numbers = [6, -9, 0, 12, 3, 4, 5, 1, i64::MIN, 0, 7, 2];
        let mut small = Vec::new();
        vertex_rows(&numbers, 3, &mut small);
        let expected = " 1 1/2 -3/4 0\n 1 3 4 5\n 1 -4611686018427387904 0 7/2\n";
        assert_eq!(String::from_utf8(small).unwrap(), expected);
        let mut big = Vec::new();
        big_vertex_rows(&numbers.map(BigInt::from), 3, &mut big);
        assert_eq!(String::from_utf8(big).unwrap(), expected);
        let mut point = Vec::new();
        vertex_rows(&[1, 1], 0, &mut point);
        assert_eq!(point, b" 1\n 1\n");
    }
}
