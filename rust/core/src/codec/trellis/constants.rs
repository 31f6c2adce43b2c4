//! Reads the constants of a code set at compile time.
//!
//! A file of constants has one line of numbers for each code; its comment names the columns. Text from
//! `#` to the end of a line is a comment. A file of another form is a compile error.

use super::byte_levels::{ByteLevels, line_count};
use super::code::{Axis, Code, LevelCurve, StateMap, TableAxis, Winding};

/// Number of codes in a file of constants.
pub const fn count(text: &str) -> usize {
    let mut file = ConstantsFile::new(text);
    let mut count = 0;
    while file.next_line() {
        file.skip_line();
        count += 1;
    }
    count
}

/// The codes in a file of code set 1; `COUNT` is what [`count`] gives.
pub const fn windings<const COUNT: usize>(text: &str) -> [Code; COUNT] {
    let mut file = ConstantsFile::new(text);
    let mut codes = [NOTHING; COUNT];
    let mut i = 0;
    while file.next_line() {
        codes[i] = file.winding();
        i += 1;
    }
    assert!(i == COUNT, "the file has fewer codes");
    codes
}

/// The codes in a file of code set 2; `COUNT` is what [`count`] gives.
pub const fn tables<const COUNT: usize>(text: &str) -> [Code; COUNT] {
    let mut file = ConstantsFile::new(text);
    let mut codes = [NOTHING; COUNT];
    let mut i = 0;
    while file.next_line() {
        codes[i] = file.table();
        i += 1;
    }
    assert!(i == COUNT, "the file has fewer codes");
    codes
}

const NOTHING: Code = Code {
    half_bits: 0,
    window: 0,
    offset_bits: 0,
    map: StateMap::Winding(Winding {
        run_bits: 0,
        axes: [Axis { turn: 0, skew: 0 }; 2],
    }),
    curve: LevelCurve::Quantile([0.0; 3]),
    noise: 0.0,
};

/// Powers of ten that an `f32` holds exactly.
const POWERS_OF_TEN: [f32; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];

/// A file of constants and how far it has been read.
struct ConstantsFile<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> ConstantsFile<'t> {
    const fn new(text: &'t str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
        }
    }

    /// The next byte, 0 at the end.
    const fn next(&self) -> u8 {
        if self.at < self.text.len() {
            self.text[self.at]
        } else {
            0
        }
    }

    /// Skip white space and comments. Whether there is a line after that.
    const fn next_line(&mut self) -> bool {
        loop {
            match self.next() {
                b' ' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    while !matches!(self.next(), b'\n' | 0) {
                        self.at += 1;
                    }
                }
                next => return next != 0,
            }
        }
    }

    /// Skip the numbers of a line.
    const fn skip_line(&mut self) {
        while !matches!(self.next(), b'#' | b'\n' | 0) {
            self.at += 1;
        }
    }

    /// The twelve numbers of a line of code set 1.
    const fn winding(&mut self) -> Code {
        let (window, half_bits) = (self.whole(), self.whole());
        let (offset_bits, run_bits) = (self.whole(), self.whole());
        let axes = [self.axis(), self.axis()];
        let shape = [self.real(), self.real(), self.real()];
        let noise = self.real();
        self.end_of_line();
        Code {
            half_bits,
            window,
            offset_bits,
            map: StateMap::Winding(Winding { run_bits, axes }),
            curve: LevelCurve::Quantile(shape),
            noise,
        }
    }

    /// A line of code set 2: the state map, then three coefficients or the numbers of byte levels.
    const fn table(&mut self) -> Code {
        let (window, half_bits) = (self.whole(), self.whole());
        let axes = [self.table_axis(), self.table_axis()];
        self.blanks();
        let form = self.next();
        self.at += 1;
        let curve = match form {
            b'w' => LevelCurve::Words([self.real(), self.real(), self.real()]),
            b'b' => LevelCurve::Bytes(self.byte_levels((half_bits - 1) / 2)),
            _ => panic!("w for levels in words, b for levels in bytes"),
        };
        let noise = self.real();
        self.end_of_line();
        Code {
            half_bits,
            window,
            offset_bits: 7,
            map: StateMap::Tables(axes),
            curve,
            noise,
        }
    }

    const fn byte_levels(&mut self, cell_bits: u32) -> ByteLevels {
        let units = self.real();
        let lines = self.small::<64>(line_count(cell_bits));
        let tail = self.small::<16>(16);
        assert!(tail[0] == 0, "the tail begins with 0");
        ByteLevels { units, lines, tail }
    }

    /// `count` numbers of one byte, and zeros after them.
    const fn small<const MOST: usize>(&mut self, count: usize) -> [i8; MOST] {
        let mut all = [0; MOST];
        let mut i = 0;
        while i < count {
            let value = self.signed();
            assert!(
                -128 <= value && value < 128,
                "a number of a table is a byte"
            );
            all[i] = value as i8;
            i += 1;
        }
        all
    }

    const fn end_of_line(&mut self) {
        self.blanks();
        assert!(
            matches!(self.next(), b'#' | b'\n' | b'\r' | 0),
            "a line has as many numbers as its comment says"
        );
    }

    const fn table_axis(&mut self) -> TableAxis {
        TableAxis {
            turn: self.whole(),
            skews: [self.whole(), self.whole(), self.whole()],
        }
    }

    const fn axis(&mut self) -> Axis {
        let (turn, skew) = (self.whole(), self.whole());
        Axis { turn, skew }
    }

    const fn blanks(&mut self) {
        while self.next() == b' ' {
            self.at += 1;
        }
    }

    const fn whole(&mut self) -> u32 {
        self.blanks();
        let (value, digits) = self.digits(0);
        assert!(digits > 0 && value <= u32::MAX as u64, "a whole number");
        value as u32
    }

    const fn signed(&mut self) -> i32 {
        self.blanks();
        let negative = self.next() == b'-';
        if negative {
            self.at += 1;
        }
        let value = self.whole() as i32;
        if negative { -value } else { value }
    }

    /// Read digits and append them to `value`. Returns the value and the number of digits read.
    const fn digits(&mut self, mut value: u64) -> (u64, usize) {
        let mut digits = 0;
        while self.next().is_ascii_digit() {
            value = 10 * value + (self.next() - b'0') as u64;
            self.at += 1;
            digits += 1;
        }
        (value, digits)
    }

    /// Read a decimal number, with or without a negative exponent, as the nearest `f32`. Digits and
    /// power of ten are both exact in `f32`, so their quotient is rounded once.
    const fn real(&mut self) -> f32 {
        self.blanks();
        let negative = self.next() == b'-';
        if negative {
            self.at += 1;
        }
        let (mut value, whole) = self.digits(0);
        let mut places = 0;
        if self.next() == b'.' {
            self.at += 1;
            (value, places) = self.digits(value);
        }
        assert!(whole + places > 0, "a number");
        if self.next() == b'e' {
            self.at += 1;
            assert!(self.next() == b'-', "a negative exponent");
            self.at += 1;
            let (exponent, digits) = self.digits(0);
            assert!(digits > 0, "an exponent");
            places += exponent as usize;
        }
        assert!(value < 1 << f32::MANTISSA_DIGITS, "too many digits");
        assert!(places < POWERS_OF_TEN.len(), "too many places");
        let value = value as f32 / POWERS_OF_TEN[places];
        if negative { -value } else { value }
    }
}
