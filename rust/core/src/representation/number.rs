//! Exact numbers from words: integers, fractions p/q, and decimals as exact rationals.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::Ratio;
use num_traits::{Pow, Zero};

use super::tokens::Token;
use crate::{Error, ErrorKind, Result};

/// An exact fraction.
pub type Rational = Ratio<BigInt>;

/// The most digits of a numerator or denominator. Conversion takes time quadratic in the digits. The
/// longest number takes milliseconds, so reading can be stopped at any time.
pub const MOST_DIGITS: usize = 20_000;

/// The largest magnitude of a decimal's exponent, well beyond that of any float. It prevents a few
/// bytes of exponent from becoming kilobytes of zeros.
pub const LARGEST_EXPONENT: u32 = 1_000;

/// The number type that a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// `integer` or `rational`: both accept fractions, as in lrs.
    Rational,
    /// `real`: decimals are accepted, too.
    Real,
}

/// A number in the narrowest type that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// An integer of 64 bits.
    Integer(i64),
    /// Another fraction of two such integers: numerator and denominator in lowest terms, the denominator
    /// above 1.
    Small(i64, i64),
    /// Any other.
    Rational(Rational),
}

impl From<Rational> for Number {
    fn from(value: Rational) -> Self {
        match (i64::try_from(value.numer()), i64::try_from(value.denom())) {
            (Ok(integer), Ok(1)) => Self::Integer(integer),
            (Ok(numerator), Ok(denominator)) => Self::Small(numerator, denominator),
            _ => Self::Rational(value),
        }
    }
}

impl From<Number> for Rational {
    fn from(value: Number) -> Self {
        match value {
            Number::Integer(integer) => Self::from_integer(integer.into()),
            Number::Small(numerator, denominator) => {
                Self::new_raw(numerator.into(), denominator.into())
            }
            Number::Rational(value) => value,
        }
    }
}

/// The number that a word is.
pub fn parse(token: &Token<'_>, of: NumberType) -> Result<Number> {
    let (negative, unsigned) = match token.text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, token.text),
    };
    if let Some(integer) = small(token.text) {
        return Ok(Number::Integer(integer));
    }
    let value = match unsigned.iter().position(|b| *b == b'/') {
        Some(slash) => fraction(token, &unsigned[..slash], &unsigned[slash + 1..])?,
        None if of == NumberType::Real => decimal(token, unsigned)?,
        None => Rational::from_integer(digits(token, unsigned)?),
    };
    Ok(Number::from(if negative { -value } else { value }))
}

/// The number at the beginning of a text, and its number of bytes, if it is what nearly every entry of nearly every
/// file is: an integer, or a fraction of two, of at most 18 digits each. White space follows it.
#[inline]
pub fn short(text: &[u8]) -> Option<(Number, usize)> {
    let negative = text.first() == Some(&b'-');
    let signed = |value: i64| if negative { -value } else { value };
    let (numerator, mut at) = short_digits(text, negative.into())?;
    let number = if text.get(at) == Some(&b'/') {
        let (denominator, end) = short_digits(text, at + 1)?;
        at = end;
        if denominator == 0 {
            // The long way words the error.
            return None;
        }
        let divisor = numerator.gcd(&denominator);
        match (signed(numerator / divisor), denominator / divisor) {
            (integer, 1) => Number::Integer(integer),
            (numerator, denominator) => Number::Small(numerator, denominator),
        }
    } else {
        Number::Integer(signed(numerator))
    };
    let ends = text.get(at).is_some_and(u8::is_ascii_whitespace);
    ends.then_some((number, at))
}

/// The value of one to 18 digits from a place on, and the place after them.
#[inline]
fn short_digits(text: &[u8], from: usize) -> Option<(i64, usize)> {
    const MOST: usize = 18;
    let (mut value, mut at) = (0i64, from);
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            break;
        }
        if at - from == MOST {
            return None;
        }
        value = 10 * value + i64::from(digit);
        at += 1;
    }
    (at > from).then_some((value, at))
}

/// An integer of 64 bits, which may have a sign.
fn small(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn fraction(token: &Token<'_>, numerator: &[u8], denominator: &[u8]) -> Result<Rational> {
    let (numerator, denominator) = (digits(token, numerator)?, digits(token, denominator)?);
    if denominator.is_zero() {
        return Err(token.error(format_args!("{} divides by zero", token.quoted())));
    }
    Ok(Rational::new(numerator, denominator))
}

/// whole.part × 10^exponent.
fn decimal(token: &Token<'_>, text: &[u8]) -> Result<Rational> {
    let (mantissa, power) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&text[..at], exponent(token, &text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, part) = match mantissa.iter().position(|b| *b == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &b""[..]),
    };
    let all = digits(token, &[whole, part].concat())?;
    let power = power - part.len() as i32;
    let ten = BigInt::from(10).pow(power.unsigned_abs());
    Ok(if power < 0 {
        Rational::new(all, ten)
    } else {
        Rational::from_integer(all * ten)
    })
}

fn exponent(token: &Token<'_>, text: &[u8]) -> Result<i32> {
    let value = small(text).ok_or_else(|| malformed(token))?;
    if value.unsigned_abs() > u64::from(LARGEST_EXPONENT) {
        return Err(too_large(
            token,
            format_args!("exponents up to {LARGEST_EXPONENT} are accepted"),
        ));
    }
    Ok(value as i32)
}

/// An integer without a sign.
fn digits(token: &Token<'_>, text: &[u8]) -> Result<BigInt> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(malformed(token));
    }
    if text.len() > MOST_DIGITS {
        return Err(too_large(
            token,
            format_args!("{} digits; up to {MOST_DIGITS} are accepted", text.len()),
        ));
    }
    BigInt::parse_bytes(text, 10).ok_or_else(|| malformed(token))
}

fn malformed(token: &Token<'_>) -> Error {
    let decimal = token.text.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
    let hint = if decimal {
        "integers and fractions such as -3/4 are accepted, and decimals such as -7.5e-3 below a header that says 'real'"
    } else {
        "integers and fractions such as -3/4 are accepted"
    };
    token.error(format_args!("{} is no number: {hint}", token.quoted()))
}

fn too_large(token: &Token<'_>, says: std::fmt::Arguments<'_>) -> Error {
    let error = token.error(format_args!("{}: {says}", token.quoted()));
    Error::new(ErrorKind::TooLarge, error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, of: NumberType) -> Result<Number> {
        let token = Token {
            text: text.as_bytes(),
            line: 7,
            column: 3,
        };
        parse(&token, of)
    }

    fn rational(numerator: &str, denominator: &str) -> Number {
        let [n, d] = [numerator, denominator].map(|x| x.parse::<BigInt>().unwrap());
        Number::from(Rational::new(n, d))
    }

    #[test]
    fn numbers_are_exact() {
        for (text, numerator, denominator) in [
            ("0", "0", "1"),
            ("+17", "17", "1"),
            ("-9223372036854775808", "-9223372036854775808", "1"),
            ("9223372036854775808", "9223372036854775808", "1"),
            ("-6/4", "-3", "2"),
            ("+6/3", "2", "1"),
            ("0/5", "0", "1"),
            ("000/0001", "0", "1"),
        ] {
            for of in [NumberType::Rational, NumberType::Real] {
                assert_eq!(value(text, of).unwrap(), rational(numerator, denominator));
            }
        }
        for (text, numerator, denominator) in [
            ("0.1", "1", "10"),
            ("-.5", "-1", "2"),
            ("5.", "5", "1"),
            ("-7.5e-3", "-3", "400"),
            ("1E+2", "100", "1"),
            ("12.50e1", "125", "1"),
        ] {
            assert_eq!(
                value(text, NumberType::Real).unwrap(),
                rational(numerator, denominator)
            );
            assert!(value(text, NumberType::Rational).is_err());
        }
    }

    /// [`short`] reads the same number as [`parse`], or leaves the word to it.
    #[test]
    fn short_numbers_are_those_of_words() {
        let parts = ["", "0", "7", "-3", "+3", "18", "007", "x", "1.5", "/", "-"];
        let long = [
            "999999999999999999",
            "1000000000000000000",
            "123456789012345678",
        ];
        let all: Vec<&str> = parts.into_iter().chain(long).collect();
        let mut read = 0;
        for numerator in &all {
            for denominator in &all {
                for word in [numerator.to_string(), format!("{numerator}/{denominator}")] {
                    for end in [" ", "\n", "\t1", ""] {
                        let text = format!("{word}{end}");
                        if let Some((number, length)) = short(text.as_bytes()) {
                            assert_eq!(length, word.len(), "{text}");
                            assert_eq!(number, value(&word, NumberType::Rational).unwrap());
                            read += 1;
                        } else {
                            let plain = word.bytes().all(|b| b.is_ascii_digit());
                            assert!(!plain || end.is_empty() || word.is_empty() || word.len() > 18);
                        }
                    }
                }
            }
        }
        assert!(read > 100);
    }

    #[test]
    fn other_words_are_no_numbers() {
        for text in [
            "", "-", "+", "--1", "+-1", "1/", "/2", "1/-2", "1/2/3", "1/2.5", "x", "0x10", "1_000",
            "nan", "inf", ".", "e5", "1e", "1e+", "1.2.3", "1e5.5", "1/2e3", "١", "1,5", "2*3",
        ] {
            for of in [NumberType::Rational, NumberType::Real] {
                let error = value(text, of).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Format, "{text}");
                assert!(error.message().starts_with("line 7, column 3: "), "{error}");
            }
        }
        assert!(
            value("1/0", NumberType::Real)
                .unwrap_err()
                .message()
                .contains("divides by zero")
        );
    }

    #[test]
    fn long_numbers_are_refused_before_they_are_made() {
        let longest = "7".repeat(MOST_DIGITS);
        assert!(value(&longest, NumberType::Rational).is_ok());
        let longer = longest + "7";
        for text in [
            longer.as_str(),
            &format!("1/{longer}"),
            "1e1001",
            "1e-99999999999",
        ] {
            let error = value(text, NumberType::Real).unwrap_err();
            let kinds = [ErrorKind::TooLarge, ErrorKind::Format];
            assert!(kinds.contains(&error.kind()), "{error}");
            assert!(error.message().len() < 300, "{error}");
        }
    }
}
