//! The mask of the weights that are exactly zero, entropy-coded.
//!
//! One bit a weight, coded by an asymmetric numeral system (Duda, *Asymmetric numeral systems*, 2013)
//! with probabilities that are counted first. There is either one probability for all weights, or one
//! for each of [`CONTEXTS`] contexts (the three weights before, the one above if there is one, the
//! place modulo four), whichever takes fewer bytes. The contexts match the patterns of pruning: whole
//! rows and columns, and two zeros in every four weights. Every chain is coded on its own, so that
//! threads can share the work.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::layout::Layout;
use crate::{Control, Error, ErrorKind, Result};

/// Contexts of the larger model.
const CONTEXTS: usize = 96;

/// Bits of a probability.
const PRECISION: u32 = 16;

/// Chains that are decoded at a time before their bits are packed.
const BATCH: usize = 64;

/// A limit on memory: a mask that is all zeros is stored in a five-hundredth of its bits, so a file of
/// a few megabytes could ask for gigabytes. A mask is accepted if it takes at most the first number of
/// bytes in memory, or if the quotient of its bytes in memory and in the file is at most the second
/// number.
const EXPANSION: (usize, usize) = (1 << 26, 64);

/// The least state of a coder that is not being renormalised.
const LEAST_STATE: u64 = 1 << 32;

/// The non-zero weights of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// A bit for each weight in C order, least significant first; set where it is not zero.
    words: Vec<u64>,
    /// The stored form.
    stored: Vec<u8>,
    columns: Columns,
}

/// The columns that are not zero in any row, computed at the first call. They follow from the bits, so
/// they are ignored in comparisons.
#[derive(Clone, Debug, Default)]
struct Columns(OnceLock<Option<Vec<usize>>>);

impl PartialEq for Columns {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format, message)
}

/// The probability, in units of 2^−16, that a weight in each context is not zero.
type Model = Vec<u16>;

/// Walks over a chain's weights and gives the context of the next one.
struct Contexts {
    last: usize,
    at: usize,
    row: usize,
    seen: Vec<bool>,
}

impl Contexts {
    /// For a chain whose rows have this length.
    fn new(row: usize) -> Self {
        Self {
            last: 0,
            at: 0,
            row,
            seen: Vec::new(),
        }
    }

    fn next(&self) -> usize {
        let above = match self.at.checked_sub(self.row) {
            Some(above) => usize::from(self.seen[above]),
            None => 2,
        };
        self.last | (self.at % 4) << 3 | above << 5
    }

    fn push(&mut self, bit: bool) {
        self.seen.push(bit);
        self.last = (self.last << 1 | usize::from(bit)) & 7;
        self.at += 1;
    }
}

/// The half-open interval of the state's low bits that represents a bit: its start and its length.
fn interval(bit: bool, probability: u16) -> (u64, u64) {
    let set = u64::from(probability);
    if bit {
        (0, set)
    } else {
        (set, (1 << PRECISION) - set)
    }
}

/// Code bits with their probabilities. A decoder reads the result from front to back.
fn code(bits: &[(bool, u16)]) -> Vec<u8> {
    let mut words: Vec<u32> = Vec::new();
    let mut state = LEAST_STATE;
    // The coder is a stack: the last bit coded is decoded first.
    for &(bit, probability) in bits.iter().rev() {
        let (start, length) = interval(bit, probability);
        if state >= length << (64 - PRECISION) {
            words.push(state as u32);
            state >>= 32;
        }
        state = (state / length) << PRECISION | (state % length + start);
    }
    words.push(state as u32);
    words.push((state >> 32) as u32);
    words.iter().rev().flat_map(|w| w.to_le_bytes()).collect()
}

/// Reads what [`code`] wrote.
struct MaskDecoder<'a> {
    words: &'a [[u8; 4]],
    state: u64,
}

impl<'a> MaskDecoder<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let (&[high, low], words) = words.split_first_chunk::<2>()?;
        let word = |w| u64::from(u32::from_le_bytes(w));
        rest.is_empty().then_some(Self {
            words,
            state: word(high) << 32 | word(low),
        })
    }

    /// The next bit. Past the end it reads arbitrary bits, and [`finished`](Self::finished) is false.
    fn next(&mut self, probability: u16) -> bool {
        let low = self.state & ((1 << PRECISION) - 1);
        let bit = low < u64::from(probability);
        let (start, length) = interval(bit, probability);
        self.state = length * (self.state >> PRECISION) + low - start;
        if self.state < LEAST_STATE
            && let Some((word, rest)) = self.words.split_first()
        {
            self.state = self.state << 32 | u64::from(u32::from_le_bytes(*word));
            self.words = rest;
        }
        bit
    }

    fn finished(&self) -> bool {
        self.words.is_empty() && self.state == LEAST_STATE
    }
}

/// How often a weight in each context is zero, and how often it is not.
type Counts = [[u64; 2]; CONTEXTS];

/// The model that codes these counts best, with its own bytes.
fn model(counts: &Counts) -> Model {
    let probability = |[zero, set]: [u64; 2]| {
        let share = set as f64 / (zero + set).max(1) as f64;
        ((share * f64::from(1 << PRECISION)).round() as u32).clamp(1, (1 << PRECISION) - 1) as u16
    };
    let bits = |counts: &[[u64; 2]], model: &[u16]| {
        let cost = |([zero, set], p): (&[u64; 2], &u16)| {
            let p = f64::from(*p) / f64::from(1 << PRECISION);
            -(*set as f64 * p.log2() + *zero as f64 * (1.0 - p).log2())
        };
        let cells: f64 = counts.iter().zip(model).map(cost).sum();
        cells + f64::from(PRECISION) * model.len() as f64
    };
    let total = counts
        .iter()
        .fold([0, 0], |sum, c| [sum[0] + c[0], sum[1] + c[1]]);
    let small = vec![probability(total)];
    let large: Model = counts.iter().map(|c| probability(*c)).collect();
    if bits(&[total], &small) <= bits(counts, &large) {
        small
    } else {
        large
    }
}

impl Mask {
    /// The mask of a tensor of `len` weights; `is_zero` says which are zero.
    pub fn new(
        layout: &Layout,
        is_zero: impl Fn(usize) -> bool + Sync,
        control: &Control,
    ) -> Result<Self> {
        let len = layout.lengths().sum::<usize>();
        let words = (0..len.div_ceil(64))
            .into_par_iter()
            .map(|word| {
                let bits = word * 64..(word * 64 + 64).min(len);
                bits.enumerate()
                    .map(|(bit, at)| u64::from(!is_zero(at)) << bit)
                    .sum()
            })
            .collect();
        let mut mask = Self {
            words,
            stored: Vec::new(),
            columns: Columns::default(),
        };
        let chains = 0..layout.chains();
        let counts = chains
            .clone()
            .into_par_iter()
            .map(|chain| {
                control.check()?;
                let mut counts: Counts = [[0; 2]; CONTEXTS];
                mask.walk(layout, chain, |context, bit| {
                    counts[context][usize::from(bit)] += 1;
                });
                Ok(counts)
            })
            .try_reduce(
                || [[0; 2]; CONTEXTS],
                |mut sum, counts| {
                    for (a, b) in sum.as_flattened_mut().iter_mut().zip(counts.as_flattened()) {
                        *a += b;
                    }
                    Ok(sum)
                },
            )?;
        let model = model(&counts);
        let coded = chains
            .into_par_iter()
            .map(|chain| {
                control.check()?;
                let mut bits = Vec::new();
                mask.walk(layout, chain, |context, bit| {
                    bits.push((bit, model[context % model.len()]));
                });
                Ok(code(&bits))
            })
            .collect::<Result<Vec<_>>>()?;
        mask.stored.push(model.len() as u8);
        mask.stored
            .extend(model.iter().flat_map(|p| p.to_le_bytes()));
        for chain in &coded {
            mask.stored.extend((chain.len() as u32).to_le_bytes());
        }
        mask.stored.extend(coded.iter().flatten());
        // A mask that could not be read again is refused.
        check_expansion(len, mask.stored.len())?;
        Ok(mask)
    }

    /// Call `visit` with the context and the bit of every weight of a chain.
    fn walk(&self, layout: &Layout, chain: usize, mut visit: impl FnMut(usize, bool)) {
        let mut contexts = Contexts::new(layout.stream(layout.chain(chain).start).len());
        for at in layout.chain_weights(chain) {
            let bit = self.contains(at);
            visit(contexts.next(), bit);
            contexts.push(bit);
        }
    }

    /// A bit for each weight in C order, least significant first; set where it is not zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether weight `at` is not zero.
    pub fn contains(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    /// Number of weights in this range that are not zero.
    pub fn count(&self, range: std::ops::Range<usize>) -> usize {
        let ones_below = |end: usize, word: usize| {
            let bits = self.words.get(word).copied().unwrap_or(0);
            (bits & !(u64::MAX << (end % 64))).count_ones() as usize
        };
        let (first, last) = (range.start / 64, range.end / 64);
        let whole: usize = self.words[first..last]
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum();
        whole + ones_below(range.end, last) - ones_below(range.start, first)
    }

    /// The columns of a matrix of this shape that are not zero, if they are the same in all rows.
    /// O(weights) at the first call.
    pub fn columns(&self, rows: usize, columns: usize) -> Option<&[usize]> {
        let found = self.columns.0.get_or_init(|| {
            let same = |column: usize, row: usize| {
                self.contains(row * columns + column) == self.contains(column)
            };
            let all = (1..rows)
                .into_par_iter()
                .all(|row| (0..columns).all(|column| same(column, row)));
            all.then(|| (0..columns).filter(|at| self.contains(*at)).collect())
        });
        found.as_deref()
    }

    /// The weights of each stream that are not zero.
    pub fn lengths(&self, layout: &Layout) -> Vec<usize> {
        (0..layout.len())
            .map(|stream| self.count(layout.stream(stream)))
            .collect()
    }

    /// Distribute the non-zero weights, in order, to their places within `range` of the tensor, with
    /// zeros in between.
    pub fn spread<T: Copy + Default>(
        &self,
        range: std::ops::Range<usize>,
        coded: &[T],
        out: &mut [T],
    ) {
        let mut coded = coded.iter();
        for (at, place) in range.zip(out) {
            *place = match self.contains(at) {
                true => coded.next().copied().unwrap_or_default(),
                false => T::default(),
            };
        }
    }

    /// The stored form, described in `docs/format.md`.
    pub fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// Read the stored form at the start of `bytes`. Returns the mask and the length of the stored
    /// form.
    pub fn read(bytes: &[u8], layout: &Layout) -> Result<(Self, usize)> {
        let truncated = || malformed("truncated: the mask of zeros");
        let contexts = usize::from(*bytes.first().ok_or_else(truncated)?);
        if contexts != 1 && contexts != CONTEXTS {
            return Err(malformed(format!(
                "a mask with {contexts} contexts: 1 and {CONTEXTS} are known"
            )));
        }
        let at = 1 + 2 * contexts;
        let model: Model = bytes
            .get(1..at)
            .ok_or_else(truncated)?
            .as_chunks::<2>()
            .0
            .iter()
            .map(|p| u16::from_le_bytes(*p))
            .collect();
        if model.contains(&0) {
            return Err(malformed("a mask with a probability of 0"));
        }
        let table = layout.chains().checked_mul(4).ok_or_else(truncated)?;
        let end = at.checked_add(table).ok_or_else(truncated)?;
        let lengths = bytes.get(at..end).ok_or_else(truncated)?.as_chunks::<4>().0;
        let mut rest = &bytes[end..];
        let mut coded = Vec::with_capacity(lengths.len());
        for length in lengths {
            let length = u32::from_le_bytes(*length) as usize;
            coded.push(rest.split_off(..length).ok_or_else(truncated)?);
        }
        let used = bytes.len() - rest.len();
        let weights: usize = layout.lengths().sum();
        check_expansion(weights, used).map_err(|e| malformed(e.message()))?;
        let mut words = Vec::new();
        words
            .try_reserve_exact(weights.div_ceil(64))
            .map_err(|e| Error::new(ErrorKind::TooLarge, format!("the mask of zeros: {e}")))?;
        let mut at = 0;
        for (batch, coded) in coded.chunks(BATCH).enumerate() {
            let bits = coded
                .par_iter()
                .enumerate()
                .map(|(i, coded)| {
                    let chain = batch * BATCH + i;
                    decode_chain(coded, &model, layout, chain)
                        .ok_or_else(|| malformed(format!("the mask of zeros in chain {chain}")))
                })
                .collect::<Result<Vec<_>>>()?;
            for bit in bits.iter().flatten() {
                if at % 64 == 0 {
                    words.push(0u64);
                }
                words[at / 64] |= u64::from(*bit) << (at % 64);
                at += 1;
            }
        }
        let stored = bytes[..used].to_vec();
        let columns = Columns::default();
        Ok((
            Self {
                words,
                stored,
                columns,
            },
            used,
        ))
    }
}

/// An error if a mask of `weights` weights expands too much from `stored` bytes.
fn check_expansion(weights: usize, stored: usize) -> Result<()> {
    let bytes = weights.div_ceil(8);
    if bytes <= EXPANSION.0 || bytes / EXPANSION.1 <= stored {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        format!(
            "a mask of {weights} weights in only {stored} bytes: such a mask may take no more \
             than {} bytes in memory",
            EXPANSION.0
        ),
    ))
}

fn decode_chain(coded: &[u8], model: &[u16], layout: &Layout, chain: usize) -> Option<Vec<bool>> {
    let mut decoder = MaskDecoder::new(coded)?;
    let mut contexts = Contexts::new(layout.stream(layout.chain(chain).start).len());
    for _ in layout.chain_weights(chain) {
        let bit = decoder.next(model[contexts.next() % model.len()]);
        contexts.push(bit);
    }
    decoder.finished().then_some(contexts.seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(shape: &[usize], is_zero: impl Fn(usize) -> bool + Sync) -> Mask {
        Mask::new(&Layout::new(shape), is_zero, &Control::new()).unwrap()
    }

    /// Bits a weight.
    fn rate(shape: &[usize], is_zero: impl Fn(usize) -> bool + Sync) -> f64 {
        let weights: usize = shape.iter().product();
        8.0 * mask(shape, is_zero).stored().len() as f64 / weights as f64
    }

    fn random(at: usize) -> f64 {
        let mut z = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn independent_zeros_cost_their_entropy() {
        for limit in [0.02f64, 0.1, 0.5, 0.8] {
            let zeros = (0..512 * 512).filter(|at| random(*at) < limit).count();
            let share = zeros as f64 / (512.0 * 512.0);
            let entropy = -share * share.log2() - (1.0 - share) * (1.0 - share).log2();
            let rate = rate(&[512, 512], |at| random(at) < limit);
            assert!(rate < entropy + 0.005, "{share}: {rate} against {entropy}");
        }
    }

    #[test]
    fn patterns_of_pruning_cost_less() {
        // Two of every four: log2(6)/4 bits.
        let pairs = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
        let two_of_four = |at: usize| pairs[(random(at / 4) * 6.0) as usize].contains(&(at % 4));
        assert!(rate(&[512, 512], two_of_four) < 6f64.log2() / 4.0 + 0.02);
        assert!(rate(&[512, 512], |at| random(at / 512) < 0.5) < 0.02);
        assert!(rate(&[512, 512], |at| random(at % 512) < 0.5) < 0.05);
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read(rows in 1usize..40, row in 1usize..500, share in 0.0f64..=1.0) {
            let layout = Layout::new(&[rows, row]);
            let mask = mask(&[rows, row], |at| random(at) < share);
            let mut bytes = mask.stored().to_vec();
            bytes.push(7);
            let (read, used) = Mask::read(&bytes, &layout).unwrap();
            prop_assert_eq!(used, bytes.len() - 1);
            prop_assert_eq!(&read, &mask);
            for stream in 0..layout.len() {
                let range = layout.stream(stream);
                let plain: Vec<usize> = range.clone().filter(|at| mask.contains(*at)).collect();
                prop_assert_eq!(mask.count(range.clone()), plain.len());
                let coded: Vec<f32> = (0..plain.len()).map(|i| i as f32 + 1.0).collect();
                let mut values = vec![7.0; range.len()];
                mask.spread(range.clone(), &coded, &mut values);
                for (at, value) in range.zip(&values) {
                    let place = plain.iter().position(|p| *p == at);
                    prop_assert_eq!(*value, place.map_or(0.0, |p| p as f32 + 1.0));
                }
            }
        }

        #[test]
        fn no_few_bytes_ask_for_much_memory(rows in prop_oneof![2usize..64, 33_000usize..1 << 18]) {
            // Chains of zeros alone, as many as the shape has, from a model that expects them.
            let shape = [rows, 16384];
            let layout = Layout::new(&shape);
            let zeros = code(&vec![(false, 1); layout.chain_weights(0).len()]);
            prop_assume!(layout.chain_weights(layout.chains() - 1).len() == layout.chain_weights(0).len());
            let mut bytes = vec![1, 1, 0];
            // What would take over 64 MB is refused by its size, before a chain is walked.
            let chains = layout.chains();
            for _ in 0..chains {
                bytes.extend((zeros.len() as u32).to_le_bytes());
            }
            for _ in 0..chains {
                bytes.extend(&zeros);
            }
            match Mask::read(&bytes, &layout) {
                Ok((mask, _)) => {
                    let held = 8 * mask.words.len();
                    prop_assert!(held <= EXPANSION.0 || held <= EXPANSION.1 * bytes.len());
                }
                Err(error) => prop_assert!(error.message().contains("may take no more")),
            }
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Mask::read(&bytes, &Layout::new(&[7, 300]));
        }
    }
}
