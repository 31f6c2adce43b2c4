//! The Zero rule in vector lanes: dictionaries modulo a prime below 2⁵⁰, in doubles ([`Residue50`]).
//!
//! Entries are stored by column. A pivot computes each column of the child's dictionary from the parent's
//! by one multiply-add for each entry. The scan that finds the children (statement 3 of
//! [`zero_rule`](super::zero_rule)) runs along columns as well. The pivots of all children of a node are
//! inverted together.

use super::dictionary::Dictionary;
use super::tableau::Tableau;
use crate::SimdLevel;
use crate::arrangement::arithmetic::{Field, Residue50, fused};
use crate::arrangement::jobs::{Job, Walk};

/// A [dictionary](super::dictionary), by column.
#[derive(Clone, Debug, Default)]
struct LaneDictionary {
    cobasis: Vec<u32>,
    others: Vec<u32>,
    /// `others` as doubles, for the scans.
    numbers: Vec<f64>,
    /// d + 1 columns; the last has the constants. A column has a value for each of the other hyperplanes,
    /// and then for each coordinate.
    columns: Vec<Vec<f64>>,
    determinant: f64,
}

/// The result of a scan of one column: the largest number of a hyperplane whose entry is not 0, among all
/// rows, and among the hyperplanes that contain the vertex. −1 if there is none.
#[derive(Clone, Copy, Debug)]
struct Tops {
    all: f64,
    through: f64,
}

/// An exchange: the hyperplane of the row enters the cobasis, and that of the column leaves it.
#[derive(Clone, Copy, Debug)]
struct Pivot {
    leaving: u32,
    entering: u32,
    row: u32,
    column: u32,
    /// The inverse of the entry.
    inverse: f64,
}

/// The workspace for one level of the tree.
#[derive(Debug, Default)]
struct Level {
    dictionary: LaneDictionary,
    tops: Vec<Tops>,
    pivots: Vec<Pivot>,
    products: Vec<f64>,
}

impl LaneDictionary {
    fn of(dictionary: &Dictionary<Residue50>) -> Self {
        let (dimension, count) = (dictionary.cobasis.len(), dictionary.others.len());
        let column = |c| {
            let rows = 0..count + dimension;
            rows.map(|row| dictionary.entry(row, c).symmetric() as f64)
                .collect()
        };
        Self {
            cobasis: dictionary.cobasis.clone(),
            others: dictionary.others.clone(),
            numbers: dictionary.others.iter().map(|&i| i.into()).collect(),
            columns: (0..=dimension).map(column).collect(),
            determinant: dictionary.determinant().symmetric() as f64,
        }
    }

    /// Make this the dictionary of `parent` after a pivot.
    #[inline(always)]
    fn pivot(&mut self, parent: &Self, pivot: &Pivot) {
        let (row, column) = (pivot.row as usize, pivot.column as usize);
        self.cobasis.clone_from(&parent.cobasis);
        self.others.clone_from(&parent.others);
        self.numbers.clone_from(&parent.numbers);
        self.columns.resize(parent.columns.len(), Vec::new());
        let factors = &parent.columns[column][..];
        for (c, (to, from)) in self.columns.iter_mut().zip(&parent.columns).enumerate() {
            to.resize(from.len(), 0.0);
            let (to, from) = (&mut to[..factors.len()], &from[..factors.len()]);
            if c == column {
                for (x, f) in to.iter_mut().zip(factors) {
                    *x = fused(0.0, *f, pivot.inverse);
                }
                to[row] = pivot.inverse;
                continue;
            }
            // Solve the equation of the row for the slack that leaves, and substitute it in the others.
            let by = fused(0.0, from[row], -pivot.inverse);
            if by == 0.0 {
                to.copy_from_slice(from);
            } else {
                for ((x, old), f) in to.iter_mut().zip(from).zip(factors) {
                    *x = fused(*old, *f, by);
                }
            }
            to[row] = by;
        }
        self.determinant = fused(0.0, parent.determinant, factors[row]);
        self.others[row] = pivot.leaving;
        self.numbers[row] = pivot.leaving.into();
        self.cobasis[column] = pivot.entering;
    }

    #[inline(always)]
    fn tops(&self, column: usize) -> Tops {
        let count = self.numbers.len();
        let (entries, constants) = (
            &self.columns[column][..count],
            &self.columns[self.cobasis.len()][..count],
        );
        // Eight running maxima, one in each lane. The remaining rows follow one by one.
        let mut all = [-1.0f64; 8];
        let mut through = [-1.0f64; 8];
        let step = |lane: usize, at: usize, all: &mut [f64; 8], through: &mut [f64; 8]| {
            let number = if entries[at] == 0.0 {
                -1.0
            } else {
                self.numbers[at]
            };
            let here = if constants[at] == 0.0 { number } else { -1.0 };
            all[lane] = if number > all[lane] {
                number
            } else {
                all[lane]
            };
            through[lane] = if here > through[lane] {
                here
            } else {
                through[lane]
            };
        };
        for start in (0..count / 8).map(|k| 8 * k) {
            for lane in 0..8 {
                step(lane, start + lane, &mut all, &mut through);
            }
        }
        for at in count / 8 * 8..count {
            step(0, at, &mut all, &mut through);
        }
        Tops {
            all: all.into_iter().fold(-1.0, f64::max),
            through: through.into_iter().fold(-1.0, f64::max),
        }
    }

    fn push_vertex(&self, limbs: usize, out: &mut Vec<u64>) {
        let constants = &self.columns[self.cobasis.len()][self.others.len()..];
        let point: Vec<Residue50> = constants
            .iter()
            .map(|x| Residue50::from_double(*x))
            .collect();
        let mut vertex = Vec::with_capacity(point.len() + 1);
        Residue50::push_vertex(
            &point,
            &Residue50::from_double(self.determinant),
            &mut vertex,
        );
        for x in vertex {
            out.push(x as u64);
            out.extend(std::iter::repeat_n((x >> 63) as u64, limbs - 1));
        }
    }
}

impl Level {
    #[inline(always)]
    fn scan(&mut self) {
        let dictionary = &self.dictionary;
        self.tops.clear();
        for column in 0..dictionary.cobasis.len() {
            self.tops.push(dictionary.tops(column));
        }
    }

    /// Whether the vertex is reported here (statement 5 of [`zero_rule`](super::zero_rule)).
    fn reports(&self) -> bool {
        let columns = self.dictionary.cobasis.iter().zip(&self.tops);
        columns
            .into_iter()
            .all(|(&j, tops)| tops.through < f64::from(j))
    }

    /// Find the reverse pivots (statement 3), in an order that depends on the cobasis alone.
    fn read_off(&mut self) {
        let dictionary = &self.dictionary;
        let columns = || dictionary.cobasis.iter().zip(&self.tops);
        let first = columns()
            .filter(|(k, tops)| tops.all > f64::from(**k))
            .map(|(k, _)| *k)
            .min()
            .unwrap_or(u32::MAX);
        self.pivots.clear();
        for (column, (&leaving, tops)) in columns().enumerate() {
            if tops.all >= f64::from(leaving) {
                continue;
            }
            let below = leaving.min(first);
            let entries = &dictionary.columns[column];
            for (row, (&entering, x)) in dictionary.others.iter().zip(entries).enumerate() {
                if entering < below && *x != 0.0 {
                    self.pivots.push(Pivot {
                        leaving,
                        entering,
                        row: row as u32,
                        column: column as u32,
                        inverse: *x,
                    });
                }
            }
        }
        self.pivots
            .sort_unstable_by_key(|pivot| (pivot.leaving, pivot.entering));
        self.invert();
    }

    /// Replace the entry of every pivot by its inverse, with one inversion in all.
    fn invert(&mut self) {
        self.products.clear();
        let mut product = 1.0;
        for pivot in &self.pivots {
            self.products.push(product);
            product = fused(0.0, product, pivot.inverse);
        }
        let mut inverse = Residue50::from_double(product).inverse().symmetric() as f64;
        for (pivot, before) in self.pivots.iter_mut().zip(&self.products).rev() {
            let next = fused(0.0, inverse, pivot.inverse);
            pivot.inverse = fused(0.0, inverse, *before);
            inverse = next;
        }
    }
}

/// Whether vector lanes are faster at this level: they need a fused multiply-add. Every aarch64 processor
/// has one.
pub fn is_worthwhile(simd: SimdLevel) -> bool {
    cfg!(target_arch = "aarch64") || simd != SimdLevel::Portable
}

/// Run a job below the terminal dictionary, as [`zero_rule::run`](super::zero_rule::run) does.
pub fn run(simd: SimdLevel, terminal: &Dictionary<Residue50>, job: &Job, walk: &mut Walk<'_>) {
    let mut root = terminal.clone();
    if !job.node.is_empty() && !root.reach(&job.node) {
        walk.remaining.push(job.clone());
        return;
    }
    let mut levels: Vec<Level> = Vec::new();
    levels.resize_with(terminal.cobasis.len() + 1, Level::default);
    levels[0].dictionary = LaneDictionary::of(&root);
    match simd {
        SimdLevel::Portable => visit(&mut levels, job.from, job.to, walk),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tokens prove that the machine has AVX2 and FMA.
        SimdLevel::Avx2(_) | SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
            visit_avx2(&mut levels, job.from, job.to, walk)
        },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn visit_avx2(levels: &mut [Level], from: u32, to: u32, walk: &mut Walk<'_>) {
    visit(levels, from, to, walk);
}

/// Leave these positions of a node to a later run.
fn leave(dictionary: &LaneDictionary, from: u32, to: u32, walk: &mut Walk<'_>) {
    let mut node = dictionary.cobasis.clone();
    node.sort_unstable();
    walk.remaining.push(Job { node, from, to });
}

/// Visit a range of positions below the first level, depth first. Position 0 is the node itself, and
/// position k its k-th child. The walk uses a stack instead of recursion, so that all of it is one function
/// and can be compiled for one set of instructions.
#[inline(always)]
fn visit(levels: &mut [Level], from: u32, to: u32, walk: &mut Walk<'_>) {
    // A node is at most d pivots away from the terminal, so d + 1 levels are enough.
    let mut ranges: Vec<(u32, u32)> = vec![(from, to)];
    let mut fresh = true;
    while let Some(&(from, to)) = ranges.last() {
        let depth = ranges.len() - 1;
        let (above, below) = levels.split_at_mut(depth + 1);
        let level = &mut above[depth];
        if fresh {
            level.scan();
            if from == 0 && !report(level, walk) {
                leave(&level.dictionary, 0, to, walk);
                ranges.pop();
                fresh = false;
                continue;
            }
            level.read_off();
        }
        fresh = false;
        let next = from.max(1);
        if next as usize > level.pivots.len() || next >= to {
            ranges.pop();
            continue;
        }
        if walk.meter.stopped() {
            leave(&level.dictionary, next, to, walk);
            ranges.pop();
            continue;
        }
        ranges[depth].0 = next + 1;
        let pivot = level.pivots[next as usize - 1];
        below[0].dictionary.pivot(&level.dictionary, &pivot);
        ranges.push((0, u32::MAX));
        fresh = true;
    }
}

/// Count the node, and report its vertex if this is the place. False if the budget does not allow it.
fn report(level: &Level, walk: &mut Walk<'_>) -> bool {
    let dictionary = &level.dictionary;
    let reported = level.reports();
    let cost = (dictionary.others.len() * dictionary.cobasis.len()) as u64;
    if !walk.meter.spend(cost) || (reported && walk.reserve(1) == 0) {
        return false;
    }
    walk.result.cobases += 1;
    if reported {
        walk.result.vertices += 1;
        if walk.wanted.coordinates {
            dictionary.push_vertex(walk.limbs, &mut walk.result.numbers);
        }
    }
    true
}
