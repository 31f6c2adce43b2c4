//! Which flats of a search miss the polyhedron.

use std::sync::Arc;

use num_bigint::BigInt;

use super::feasibility::{Dictionary, Found};
use super::inequalities::Halfspaces;
use crate::arrangement::input::Arrangement;
use crate::arrangement::jobs::Prune;
use crate::{Control, Result};

/// The polyhedron on a flat, in the narrowest integers that hold it.
#[derive(Clone, Debug)]
enum OnFlat {
    Small(Dictionary<i128>),
    Big(Dictionary<BigInt>),
    Nothing,
}

impl From<Found<BigInt>> for OnFlat {
    fn from(found: Found<BigInt>) -> Self {
        match found {
            Found::Meets(dictionary) => Self::Big(dictionary),
            // Big integers do not overflow.
            Found::Misses | Found::Overflow => Self::Nothing,
        }
    }
}

impl OnFlat {
    fn whole(halfspaces: &Halfspaces, control: &Control) -> Result<Self> {
        let (rows, dimension) = (halfspaces.rows(), halfspaces.dimension());
        Ok(match Dictionary::whole(rows, dimension, control)? {
            Found::Meets(dictionary) => Self::Small(dictionary),
            Found::Misses => Self::Nothing,
            Found::Overflow => Dictionary::<BigInt>::whole(rows, dimension, control)?.into(),
        })
    }

    fn cut(&self, hyperplane: &[BigInt], control: &Control) -> Result<Self> {
        Ok(match self {
            Self::Small(dictionary) => match dictionary.cut(hyperplane, control)? {
                Found::Meets(child) => Self::Small(child),
                Found::Misses => Self::Nothing,
                Found::Overflow => dictionary.widened().cut(hyperplane, control)?.into(),
            },
            Self::Big(dictionary) => dictionary.cut(hyperplane, control)?.into(),
            Self::Nothing => Self::Nothing,
        })
    }
}

/// The polyhedron on the flats of a path from the whole space downwards.
#[derive(Debug)]
pub struct Pruning {
    arrangement: Arc<Arrangement>,
    halfspaces: Arc<Halfspaces>,
    /// The polyhedron on the whole space and on the first flats of the path. It is made when it is needed.
    on_flats: Vec<OnFlat>,
    /// The hyperplanes that cut out these flats, one after the other.
    path: Vec<u32>,
}

impl Pruning {
    /// A pruning of the search of an arrangement.
    pub fn new(arrangement: Arc<Arrangement>, halfspaces: Arc<Halfspaces>) -> Self {
        Self {
            arrangement,
            halfspaces,
            on_flats: Vec::new(),
            path: Vec::new(),
        }
    }
}

impl Prune for Pruning {
    fn keeps(&mut self, path: &[u32], control: &Control) -> Result<bool> {
        if self.on_flats.is_empty() {
            self.on_flats = vec![OnFlat::whole(&self.halfspaces, control)?];
        }
        let common = self.path.iter().zip(path);
        let common = common.take_while(|(a, b)| a == b).count();
        self.path.truncate(common);
        self.on_flats.truncate(common + 1);
        for hyperplane in &path[common..] {
            let row = &self.arrangement.rows()[*hyperplane as usize];
            let child = self.on_flats[self.path.len()].cut(row, control)?;
            self.on_flats.push(child);
            self.path.push(*hyperplane);
        }
        Ok(!matches!(self.on_flats[path.len()], OnFlat::Nothing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::arithmetic::Rational;
    use proptest::prelude::*;

    fn rationals(rows: &[Vec<i64>]) -> Vec<Vec<Rational>> {
        rows.iter()
            .map(|row| row.iter().map(|x| BigInt::from(*x).into()).collect())
            .collect()
    }

    /// Whether c·x ≤ e has a solution, by Fourier's elimination.
    fn solvable(mut rows: Vec<Vec<Rational>>, dimension: usize) -> bool {
        let zero = Rational::from(BigInt::from(0));
        for column in 0..dimension {
            let above: Vec<_> = rows
                .iter()
                .filter(|row| row[column] > zero)
                .cloned()
                .collect();
            let below: Vec<_> = rows
                .iter()
                .filter(|row| row[column] < zero)
                .cloned()
                .collect();
            rows.retain(|row| row[column] == zero);
            for x in &above {
                for y in &below {
                    let pair = x.iter().zip(y);
                    rows.push(pair.map(|(a, b)| b * &x[column] - a * &y[column]).collect());
                }
            }
        }
        rows.iter().all(|row| row[dimension] >= zero)
    }

    /// Mostly small, so that inequalities meet in edges and corners. The long ones do not fit 128 bits.
    fn entry() -> impl Strategy<Value = i64> {
        prop_oneof![6 => -4i64..5, 1 => any::<i64>().prop_map(|x| x >> 2)]
    }

    proptest! {
        /// On a flat of one or two hyperplanes, as inequalities on both sides of each.
        #[test]
        fn it_is_fouriers_answer(
            inequalities in proptest::collection::vec(proptest::collection::vec(entry(), 4), 0..6),
            hyperplanes in proptest::collection::vec(proptest::collection::vec(entry(), 4), 1..3),
        ) {
            prop_assume!(hyperplanes.iter().all(|row| row[..3] != [0, 0, 0]));
            let arrangement = Arrangement::new(&rationals(&hyperplanes), 3).unwrap();
            let path: Vec<u32> = (0..arrangement.rows().len() as u32).collect();
            let normals: Vec<&[BigInt]> = arrangement.rows().iter().map(|row| &row[..3]).collect();
            prop_assume!(normals.len() < 2 || (0..3).any(|i| (0..3).any(
                |j| &normals[0][i] * &normals[1][j] != &normals[0][j] * &normals[1][i])));
            let control = Control::new();
            let given = rationals(&inequalities);
            let halfspaces = Halfspaces::new(given.iter().cloned(), 3, &control).unwrap();
            let mut pruning = Pruning::new(Arc::new(arrangement), Arc::new(halfspaces));
            let mut all = given;
            prop_assert_eq!(pruning.keeps(&[], &control).unwrap(), solvable(all.clone(), 3));
            for (at, row) in rationals(&hyperplanes).into_iter().enumerate().take(path.len()) {
                all.push(row.iter().map(|x| -x).collect());
                all.push(row);
                let found = pruning.keeps(&path[..=at], &control).unwrap();
                prop_assert_eq!(found, solvable(all.clone(), 3));
            }
        }
    }
}
