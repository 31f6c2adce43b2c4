//! Parses words into a representation. The [module's notes](super) say what is refused and why.

use num_traits::Zero;

use super::number::{Number, NumberType, Rational, parse, short};
use super::tokens::{Token, Tokens};
use super::{Entries, Kind, Representation};
use crate::{Control, Result};

/// Keywords of lrs and cdd that mark equations and lines.
const LINEARITY: [&[u8]; 3] = [b"linearity", b"equality", b"partial_enum"];

/// Options of cdd and lrs that this reader hands on. A line that begins with one and goes on with numbers
/// alone is no name.
const OPTIONS: [&[u8]; 69] = [
    b"adjacency",
    b"allbases",
    b"bound",
    b"cache",
    b"criss-cross",
    b"debug",
    b"digits",
    b"dual-simplex",
    b"dualperturb",
    b"dynout_off",
    b"eliminate",
    b"estimates",
    b"extract",
    b"facet_listing",
    b"find_interior",
    b"geometric",
    b"hull",
    b"incidence",
    b"initbasis_at_bottom",
    b"input_adjacency",
    b"input_incidence",
    b"lexmax",
    b"lexmin",
    b"logfile_on",
    b"lponly",
    b"maxcobases",
    b"maxcutoff",
    b"maxdepth",
    b"maxincidence",
    b"maximize",
    b"maxindex",
    b"maxoutput",
    b"messages",
    b"mincutoff",
    b"mindepth",
    b"minimize",
    b"minindex",
    b"mixcutoff",
    b"nash",
    b"nondegenerate",
    b"nonnegative",
    b"output_reordered",
    b"partial_enumeration",
    b"postanalysis",
    b"preprojection",
    b"printcobasis",
    b"printslack",
    b"project",
    b"projection",
    b"random",
    b"redund",
    b"redund_list",
    b"restart",
    b"round_output",
    b"row_decomp",
    b"seed",
    b"startingcobasis",
    b"stdout_off",
    b"strict_inequality",
    b"testlin",
    b"threads",
    b"tope_listing",
    b"truncate",
    b"verbose",
    b"verify_input",
    b"verifyredund",
    b"vertex_listing",
    b"volume",
    b"voronoi",
];

/// Entries between two looks at the [`Control`]; the longest number takes milliseconds.
const CHECK_INTERVAL: usize = 16;

/// Read an H- or V-representation.
///
/// `expected` is the kind of a file that does not state its kind. Time is linear in the file's length,
/// except for numbers of very many digits. Memory is at most a multiple of the file's length, whatever
/// the header announces.
///
/// # Errors
/// [`ErrorKind::Format`](crate::ErrorKind::Format) with line and column, for malformed input or a file
/// that is not of the `expected` kind; [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) for a number
/// of more than [`MOST_DIGITS`](super::number::MOST_DIGITS) digits,
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
///
/// # Example
/// ```
/// use hypercomp_core::Control;
/// use hypercomp_core::representation::{Entries, Kind, read};
///
/// let file = b"triangle\nH-representation\nbegin\n3 3 integer\n0 1 0\n0 0 1\n1 -1 -1\nend\n";
/// let triangle = read(file, Kind::H, &Control::new())?;
/// assert_eq!((triangle.name.as_str(), triangle.columns), ("triangle", 3));
/// assert_eq!(triangle.entries, Entries::Integers(vec![0, 1, 0, 0, 0, 1, 1, -1, -1]));
/// # Ok::<(), hypercomp_core::Error>(())
/// ```
pub fn read(file: &[u8], expected: Kind, control: &Control) -> Result<Representation> {
    if let Some(encoding) = foreign(file) {
        let token = Token {
            text: b"",
            line: 1,
            column: 1,
        };
        return Err(token.error(format_args!(
            "the file is text in {encoding}: ASCII and UTF-8 are accepted"
        )));
    }
    let mut reader = Reader {
        tokens: Tokens::new(file),
        control,
        found: Representation {
            kind: expected,
            name: String::new(),
            columns: 0,
            entries: Entries::Integers(Vec::new()),
            linearity: Vec::new(),
            nonnegative: false,
            options: Vec::new(),
        },
        linearity: Vec::new(),
        said: false,
    };
    reader.preamble()?;
    let rows = reader.matrix()?;
    reader.options()?;
    reader.linearity(rows)
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    control: &'a Control,
    found: Representation,
    /// The numbers of linearity rows as the file has them, from 1, with their places.
    linearity: Vec<Token<'a>>,
    /// Whether the file has said which representation it is.
    said: bool,
}

/// The encoding of text whose characters are wider than a byte.
fn foreign(file: &[u8]) -> Option<&'static str> {
    match file {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// Which representation a word names; cdd and lrs write it in several ways.
fn kind_named(word: &[u8]) -> Option<Kind> {
    if word.eq_ignore_ascii_case(b"h-representation") {
        Some(Kind::H)
    } else if word.eq_ignore_ascii_case(b"v-representation") {
        Some(Kind::V)
    } else {
        None
    }
}

/// Whether a line is an option that this reader hands on.
fn is_option(line: &[u8]) -> bool {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty());
    let known = words.next().is_some_and(|word| OPTIONS.contains(&word));
    let number = |word: &[u8]| {
        word.iter()
            .all(|b| b.is_ascii_digit() || b"+-/.eE".contains(b))
    };
    known && words.all(number)
}

impl<'a> Reader<'a> {
    fn next(&mut self, wanted: &str) -> Result<Token<'a>> {
        let token = self.tokens.next();
        token.ok_or_else(|| {
            self.tokens
                .end()
                .error(format_args!("the file ends where {wanted} is expected"))
        })
    }

    /// Read everything up to and including `begin`.
    fn preamble(&mut self) -> Result<()> {
        let mut named = false;
        loop {
            let token = self.next("'begin'")?;
            if token.text == b"begin" {
                return Ok(());
            }
            if let Some(kind) = kind_named(token.text) {
                if self.said {
                    return Err(token.error("the file has said before which representation it is"));
                }
                self.kind(token, kind)?;
                continue;
            }
            if token.text == b"nonnegative" {
                if self.found.kind == Kind::V {
                    return Err(token.error("'nonnegative' belongs to an H-representation"));
                }
                self.found.nonnegative = true;
                continue;
            }
            if self.linearities(token)? {
                continue;
            }
            let line = self.tokens.rest_of_line(token);
            if is_option(line) {
                self.hand_on(token, line)?;
            } else if !named && !is_comment(line) && !self.said {
                // A name. Later lines are, as in lrs, comments.
                self.found.name = String::from_utf8_lossy(line).into_owned();
                named = true;
            }
        }
    }

    /// Keep an option that this reader does not act on, but for `hull`, the older word for a
    /// V-representation.
    fn hand_on(&mut self, token: Token<'a>, line: &[u8]) -> Result<()> {
        if line == b"hull" {
            self.kind(token, Kind::V)?;
        }
        let line = String::from_utf8_lossy(line).into_owned();
        self.found.options.push(line);
        Ok(())
    }

    fn kind(&mut self, token: Token<'a>, kind: Kind) -> Result<()> {
        self.said = true;
        if kind == self.found.kind {
            return Ok(());
        }
        Err(token.error(match kind {
            Kind::H => "this is an H-representation: a V-representation is expected",
            Kind::V if token.text == b"hull" => {
                "'hull' makes this a V-representation: an H-representation is expected"
            }
            Kind::V => "this is a V-representation: an H-representation is expected",
        }))
    }

    /// Whether `token` begins a list of equations or lines; if so, it is read.
    fn linearities(&mut self, token: Token<'a>) -> Result<bool> {
        if !LINEARITY.contains(&token.text) {
            return Ok(false);
        }
        let count = self.next("the number of linearities")?;
        let rows = natural(count, "a number of linearities")?;
        // Nothing is allocated for the announced number: if it is too large, the file ends first.
        for _ in 0..rows {
            self.control.check()?;
            let row = self.next("the number of a row")?;
            natural(row, "the number of a row")?;
            self.linearity.push(row);
        }
        Ok(true)
    }

    /// Read the sizes, the rows and `end`. Returns the number of rows.
    fn matrix(&mut self) -> Result<usize> {
        let rows = self.next("the number of rows")?;
        let announced = if !rows.text.is_empty() && rows.text.iter().all(|b| *b == b'*') {
            None
        } else {
            Some(natural(rows, "a number of rows, or *****,")?)
        };
        let columns = self.next("the number of columns")?;
        self.found.columns = natural(columns, "a number of columns")?;
        if self.found.columns == 0 {
            return Err(columns.error("0 columns: the right-hand side alone makes 1"));
        }
        let of = self.next("'rational', 'integer' or 'real'")?;
        let number_type = match of.text {
            b"rational" | b"integer" => NumberType::Rational,
            b"real" => NumberType::Real,
            _ => {
                return Err(of.error(format_args!(
                    "{} is no type of number: 'rational', 'integer' and 'real' are accepted",
                    of.quoted()
                )));
            }
        };
        let mut found = 0;
        loop {
            if announced == Some(found) {
                let token = self.next("'end'")?;
                if token.text == b"end" {
                    break;
                }
                return Err(token.error(format_args!(
                    "{} follows the last of the {found} rows that line {} announces: 'end' is expected",
                    token.quoted(),
                    rows.line
                )));
            }
            let (token, value) = self.entry("a row or 'end'", number_type)?;
            if token.text == b"end" {
                break;
            }
            self.row(token, value, found + 1, number_type)?;
            found += 1;
        }
        match announced {
            Some(n) if n != found => Err(rows.error(format_args!(
                "{n} rows are announced, and 'end' follows after {found}"
            ))),
            _ => Ok(found),
        }
    }

    /// The next word, and the number that it is unless it is `end`.
    #[inline]
    fn entry(&mut self, wanted: &str, of: NumberType) -> Result<(Token<'a>, Option<Number>)> {
        if let Some((number, length)) = short(self.tokens.ahead()) {
            return Ok((self.tokens.word_of(length), Some(number)));
        }
        let token = self.next(wanted)?;
        let ends = token.text == b"end";
        let number = (!ends).then(|| parse(&token, of)).transpose()?;
        Ok((token, number))
    }

    /// The row that begins with a number. Where lines end does not matter.
    fn row(
        &mut self,
        first: Token<'a>,
        mut value: Option<Number>,
        number: usize,
        of: NumberType,
    ) -> Result<()> {
        let columns = self.found.columns;
        let mut token = first;
        // What the row is to be divided by.
        let mut scale: Option<Rational> = None;
        for entry in 0..columns {
            if entry % CHECK_INTERVAL == 0 {
                self.control.check()?;
            }
            if entry > 0 {
                (token, value) = self.entry("the rest of a row", of)?;
            }
            let Some(mut value) = value.take() else {
                return Err(token.error(format_args!(
                    "'end' follows after {entry} of the {columns} entries of row {number}"
                )));
            };
            if entry == 0 && self.found.kind == Kind::V {
                scale = scale_of(&value).map_err(|()| {
                    first.error(format_args!(
                        "row {number} begins with {}: 1 for a vertex and 0 for a ray are accepted, \
                         and c > 0 for a vertex times c",
                        first.quoted()
                    ))
                })?;
            }
            if let Some(scale) = &scale {
                value = Number::from(Rational::from(value) / scale);
            }
            self.found.entries.push(value)?;
        }
        Ok(())
    }

    /// Read everything after `end`.
    fn options(&mut self) -> Result<()> {
        while let Some(token) = self.tokens.next() {
            if token.text == b"begin" || kind_named(token.text).is_some() {
                // Another representation; its options are not of this one.
                break;
            }
            if self.linearities(token)? {
                continue;
            }
            let line = self.tokens.rest_of_line(token);
            if !is_comment(line) {
                self.hand_on(token, line)?;
            }
        }
        Ok(())
    }

    fn linearity(mut self, rows: usize) -> Result<Representation> {
        for token in &self.linearity {
            let row = natural(*token, "the number of a row")?;
            if row == 0 || row > rows {
                return Err(token.error(format_args!(
                    "row {row} is no row: they are numbered from 1 to {rows}"
                )));
            }
            self.found.linearity.push(row - 1);
        }
        self.found.linearity.sort_unstable();
        self.found.linearity.dedup();
        Ok(self.found)
    }
}

/// What a row of a V-representation that begins so is to be divided by, if it is not 1.
fn scale_of(first: &Number) -> std::result::Result<Option<Rational>, ()> {
    match first {
        Number::Integer(0 | 1) => Ok(None),
        other => {
            let scale = Rational::from(other.clone());
            if scale > Rational::zero() {
                Ok(Some(scale))
            } else {
                Err(())
            }
        }
    }
}

fn is_comment(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'*' | b'#'))
}

/// A size or the number of a row.
fn natural(token: Token<'_>, what: &str) -> Result<usize> {
    let digits = !token.text.is_empty() && token.text.iter().all(u8::is_ascii_digit);
    let value = std::str::from_utf8(token.text).ok().filter(|_| digits);
    match value.map(str::parse) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) => Err(token.error(format_args!("{} is too large", token.quoted()))),
        None => Err(token.error(format_args!("{what} is expected, not {}", token.quoted()))),
    }
}
