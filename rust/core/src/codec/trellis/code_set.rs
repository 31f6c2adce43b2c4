//! Code sets: the codes of all rates and windows that a version of the stored form uses.
//!
//! A code set is found by the [`FormatVersion`](crate::codec::format::FormatVersion) of a stored
//! tensor, and a code by its set, window and rate. Caches with one entry for each code use its
//! [`number`](PinnedCode::number) as the key, which is unique among the codes of all sets.

use std::sync::OnceLock;

use super::code::{Code, HALF_BITS};
use super::constants;
use super::tables::Trellis;
use crate::{Error, ErrorKind, Result};

/// All codes that one version of the stored form uses.
#[derive(Debug)]
pub struct CodeSet {
    id: u32,
    windows: &'static [u32],
    codes: &'static [Code],
    /// Number of codes in the sets before this one.
    before: usize,
}

const TEXT_1: &str = include_str!("code_set_1.txt");
const CODES_1: [Code; constants::count(TEXT_1)] = constants::windings(TEXT_1);
const TEXT_2: &str = include_str!("code_set_2.txt");
const CODES_2: [Code; constants::count(TEXT_2)] = constants::tables(TEXT_2);

/// Every code set.
pub static CODE_SETS: [CodeSet; 2] = [
    CodeSet {
        id: 1,
        windows: &[8, 10, 12, 16],
        codes: &CODES_1,
        before: 0,
    },
    CodeSet {
        id: 2,
        windows: &[8, 10, 12, 16],
        codes: &CODES_2,
        before: CODES_1.len(),
    },
];

impl CodeSet {
    /// The set of versions 1 and 2 of the stored form.
    pub const FIRST: &'static Self = &CODE_SETS[0];

    /// The set of versions 3 and 4, whose levels are integers and whose streams are cut into tiles.
    pub const SECOND: &'static Self = &CODE_SETS[1];

    /// Whether streams are cut into tiles.
    pub fn is_tiled(&self) -> bool {
        self.codes[0].is_tiled()
    }

    /// The number of the set, unique among sets.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Number of codes.
    pub fn count(&self) -> usize {
        self.codes.len()
    }

    /// The windows W that have codes, in rising order: from the fastest search to the best code.
    pub fn windows(&self) -> &'static [u32] {
        self.windows
    }

    /// The codes of a window.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the set has none.
    pub fn window(&'static self, window: u32) -> Result<WindowCodes> {
        if !self.windows.contains(&window) {
            return Err(self.no_code(HALF_BITS.start(), window));
        }
        Ok(WindowCodes { set: self, window })
    }

    /// The code of `half_bits`/2 bits a weight and a window.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the set has none.
    pub fn code(&'static self, half_bits: u32, window: u32) -> Result<PinnedCode> {
        let wanted = |code: &Code| (code.half_bits, code.window) == (half_bits, window);
        match self.codes.iter().position(wanted) {
            Some(index) => Ok(PinnedCode { set: self, index }),
            None => Err(self.no_code(&half_bits, window)),
        }
    }

    fn no_code(&self, half_bits: &u32, window: u32) -> Error {
        Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "no trellis code of {half_bits} half bits and window {window}: half bits are {} to {}, windows {:?}",
                HALF_BITS.start(),
                HALF_BITS.end(),
                self.windows
            ),
        )
    }
}

impl PartialEq for CodeSet {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// The codes of a set that have one window: one for each rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowCodes {
    set: &'static CodeSet,
    window: u32,
}

impl WindowCodes {
    /// The set that these codes belong to.
    pub fn set(self) -> &'static CodeSet {
        self.set
    }

    /// The code of `half_bits`/2 bits a weight.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if there is none.
    pub fn code(self, half_bits: u32) -> Result<PinnedCode> {
        self.set.code(half_bits, self.window)
    }

    /// All codes of the window.
    pub fn iter(self) -> impl Iterator<Item = &'static Code> {
        let codes = self.set.codes.iter();
        codes.filter(move |code| code.window == self.window)
    }
}

/// A code of a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PinnedCode {
    set: &'static CodeSet,
    index: usize,
}

impl PinnedCode {
    /// Number of codes in all sets.
    pub const COUNT: usize = CODES_1.len() + CODES_2.len();

    /// Its number among the codes of all sets.
    pub fn number(self) -> usize {
        self.set.before + self.index
    }

    /// The code of this number, below [`COUNT`](Self::COUNT).
    pub fn of_number(number: usize) -> Self {
        let set = CODE_SETS.iter().rfind(|set| set.before <= number);
        let set = set.expect("the first set begins at 0");
        let index = number - set.before;
        assert!(index < set.codes.len(), "code {number} of {}", Self::COUNT);
        Self { set, index }
    }

    /// Every code of every set.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self::of_number)
    }

    /// The codes with the same set and window.
    pub fn siblings(self) -> WindowCodes {
        WindowCodes {
            set: self.set,
            window: self.code().window,
        }
    }

    /// The constants.
    pub fn code(self) -> &'static Code {
        &self.set.codes[self.index]
    }

    /// Levels and offsets, computed at the first call.
    pub fn trellis(self) -> &'static Trellis {
        static TRELLISES: [OnceLock<Trellis>; PinnedCode::COUNT] = [const { OnceLock::new() }; _];
        TRELLISES[self.number()].get_or_init(|| Trellis::new(*self.code()))
    }
}
