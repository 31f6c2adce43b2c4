//! Lattices of integer points on flats.
//!
//! A flat of dimension r is kept as a basis of the integer points of its homogeneous span, a
//! lattice of rank r + 1 in Z^(d+1) that is *saturated*: it holds every integer point of the space
//! that it spans. On it a hyperplane \[a|b\] is the row of its values at the basis, and two things
//! follow from saturation: the values are as small as they can be, and a point with coprime
//! coordinates in the basis has coprime coordinates in Z^(d+1).
//!
//! A hyperplane cuts out the sublattice on which it vanishes. Euclid's algorithm on its values,
//! carried out on the basis vectors, ends with one vector where it does not vanish and r where it
//! does; each step is unimodular, so those r are a saturated basis again.

use super::word::Word;

/// Rounds of pairwise reduction: it is for small numbers only, and stops where it gains nothing.
const ROUNDS: usize = 8;

/// `vectors` becomes a basis of its sublattice on which the linear form with these values at the
/// basis vectors vanishes; `values` is used up. `None` where numbers would outgrow `W::LIMIT`.
pub fn cut<W: Word>(vectors: &mut Vec<W>, values: &mut [W], width: usize) -> Option<()> {
    let last = values.len() - 1;
    let mut sizes = [0.0f64; 64];
    let sizes = sizes.get_mut(..values.len())?;
    for (size, vector) in sizes.iter_mut().zip(vectors.chunks_exact(width)) {
        *size = largest(vector);
    }
    let pivot = loop {
        let (first, second) = two_largest(values);
        let Some(second) = second else { break first };
        let quotient = (values[first].to_f64() / values[second].to_f64()).round();
        sizes[first] += quotient.abs() * sizes[second];
        // Also bounds the quotient, as no vector is 0.
        if sizes[first] > W::LIMIT {
            return None;
        }
        let by = W::from_f64(-quotient);
        values[first] = values[first].plus_product(by, values[second]);
        add_multiple(vectors, width, first, by, second);
    };
    for c in 0..width {
        vectors.swap(pivot * width + c, last * width + c);
    }
    vectors.truncate(last * width);
    reduce(vectors, width);
    Some(())
}

/// The largest magnitude of a vector's entries.
pub fn largest<W: Word>(vector: &[W]) -> f64 {
    vector.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max)
}

/// Places of the largest value and of the second largest that is not 0.
fn two_largest<W: Word>(values: &[W]) -> (usize, Option<usize>) {
    let (mut first, mut second) = (0, None);
    let (mut most, mut next) = (-1.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        let size = value.to_f64().abs();
        if size > most {
            if most > 0.0 {
                (second, next) = (Some(first), most);
            }
            (first, most) = (at, size);
        } else if size > next {
            (second, next) = (Some(at), size);
        }
    }
    (first, second)
}

fn add_multiple<W: Word>(vectors: &mut [W], width: usize, to: usize, by: W, from: usize) {
    for c in 0..width {
        vectors[to * width + c] =
            vectors[to * width + c].plus_product(by, vectors[from * width + c]);
    }
}

fn dot<W: Word>(a: &[W], b: &[W]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x.to_f64() * y.to_f64()).sum()
}

/// Make the basis vectors shorter, each by multiples of the others. What is subtracted is chosen
/// with doubles, but every step is unimodular whatever they say.
fn reduce<W: Word>(vectors: &mut [W], width: usize) {
    let count = vectors.len() / width;
    if count < 2 {
        return;
    }
    for _ in 0..ROUNDS {
        let mut changed = false;
        for by in 0..count {
            let norm = dot(
                &vectors[by * width..][..width],
                &vectors[by * width..][..width],
            );
            for at in (0..count).filter(|at| *at != by) {
                let share = dot(
                    &vectors[at * width..][..width],
                    &vectors[by * width..][..width],
                ) / norm;
                // 0.51: at a tie nothing is gained, and the next round would undo it.
                if share.abs() > 0.51 {
                    add_multiple(vectors, width, at, W::from_f64(-share.round()), by);
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_integer::Integer;
    use proptest::prelude::*;

    proptest! {
        /// A saturated lattice of rank 2 in Z³ has minors without a common factor; they are its
        /// normal, up to a sign.
        #[test]
        fn a_cut_is_saturated(row in proptest::collection::vec(-999i64..1000, 3)) {
            prop_assume!(row.iter().any(|x| *x != 0));
            let gcd = row.iter().fold(0, |g: i64, x| g.gcd(x));
            let mut vectors: Vec<i64> = vec![1, 0, 0, 0, 1, 0, 0, 0, 1];
            cut(&mut vectors, &mut row.clone(), 3).unwrap();
            let (u, v) = vectors.split_at(3);
            let cross = [
                u[1] * v[2] - u[2] * v[1],
                u[2] * v[0] - u[0] * v[2],
                u[0] * v[1] - u[1] * v[0],
            ];
            let primitive: Vec<i64> = row.iter().map(|x| x / gcd).collect();
            let opposite: Vec<i64> = primitive.iter().map(|x| -x).collect();
            prop_assert!(cross[..] == primitive[..] || cross[..] == opposite[..]);
        }
    }

    #[test]
    fn numbers_that_outgrow_the_word_are_noticed() {
        let large = 1i64 << 51;
        let mut vectors = vec![large, 1, 0, 1, large, 0, 1, 1, large];
        assert!(cut(&mut vectors, &mut [large - 1, 3, large - 7], 3).is_none());
    }
}
