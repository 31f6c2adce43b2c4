//! The words of a file with their lines and columns, for error messages.

use crate::{Error, ErrorKind};

/// A word and its place. Lines and columns count from 1, columns in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The word itself.
    pub text: &'a [u8],
    /// Its line.
    pub line: usize,
    /// The column of its first byte.
    pub column: usize,
}

impl Token<'_> {
    /// An error about this word.
    pub fn error(&self, says: impl std::fmt::Display) -> Error {
        let message = format!("line {}, column {}: {says}", self.line, self.column);
        Error::new(ErrorKind::Format, message)
    }

    /// The word for an error message: shortened, and printable for any bytes.
    pub fn quoted(&self) -> String {
        const SHOWN: usize = 40;
        let shown = &self.text[..self.text.len().min(SHOWN)];
        let more = if self.text.len() > SHOWN { "…" } else { "" };
        format!("'{}{more}'", shown.escape_ascii())
    }
}

/// An iterator over the words of a file, which can also take whole lines.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    line_start: usize,
}

impl<'a> Tokens<'a> {
    /// Begin at the first byte, after a byte order mark.
    pub fn new(text: &'a [u8]) -> Self {
        let at = if text.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        Self {
            text,
            at,
            line: 1,
            line_start: at,
        }
    }

    /// The next word, without advancing.
    pub fn peek(&self) -> Option<Token<'a>> {
        self.clone().next()
    }

    /// From the place of `token` to the end of its line, without white space at the end.
    pub fn rest_of_line(&mut self, token: Token<'a>) -> &'a [u8] {
        let start = self.line_start + token.column - 1;
        let rest = &self.text[start..];
        let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        self.at = start + length;
        rest[..length].trim_ascii_end()
    }

    /// The text from the next word on.
    ///
    /// With [`word_of`](Self::word_of) a caller reads a word in one pass, and leaves what it does not know to
    /// [`next`](Iterator::next).
    #[inline]
    pub fn ahead(&mut self) -> &'a [u8] {
        self.skip_blanks();
        &self.text[self.at..]
    }

    /// The next word, of which the caller knows the number of bytes.
    #[inline]
    pub fn word_of(&mut self, length: usize) -> Token<'a> {
        let token = Token {
            text: &self.text[self.at..self.at + length],
            line: self.line,
            column: self.at - self.line_start + 1,
        };
        self.at += length;
        token
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return;
            }
            self.at += 1;
            if *byte == b'\n' {
                self.line += 1;
                self.line_start = self.at;
            }
        }
    }

    /// The end of the file, for an error about something missing.
    pub fn end(&self) -> Token<'a> {
        let lines = self.text[self.at..].iter().filter(|b| **b == b'\n').count();
        let line_start = self
            .text
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        Token {
            text: b"",
            line: self.line + lines,
            column: self.text.len() - line_start + 1,
        }
    }

    /// The word that begins here.
    fn word(&mut self) -> Token<'a> {
        let rest = &self.text[self.at..];
        let blank = rest.iter().position(u8::is_ascii_whitespace);
        self.word_of(blank.unwrap_or(rest.len()))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    /// The next word, whatever line it is on.
    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        (self.at < self.text.len()).then(|| self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_where_they_stand() {
        let mut tokens = Tokens::new(b"\xef\xbb\xbfone  two\r\n\n  three \t four  \nfive");
        let at = |t: Option<Token>| t.map(|t| (t.text.to_vec(), t.line, t.column));
        assert!(tokens.ahead().starts_with(b"one"));
        assert_eq!(at(tokens.next()), Some((b"one".to_vec(), 1, 1)));
        assert_eq!(at(tokens.peek()), Some((b"two".to_vec(), 1, 6)));
        assert_eq!(at(tokens.next()), Some((b"two".to_vec(), 1, 6)));
        assert!(tokens.ahead().starts_with(b"three"));
        let three = tokens.word_of(5);
        assert_eq!(at(Some(three)), Some((b"three".to_vec(), 3, 3)));
        assert_eq!(tokens.rest_of_line(three), b"three \t four");
        assert_eq!(at(tokens.next()), Some((b"five".to_vec(), 4, 1)));
        assert_eq!(at(tokens.next()), None);
        assert_eq!(at(Some(tokens.end())), Some((Vec::new(), 4, 5)));
        assert_eq!(
            at(Some(Tokens::new(b"a\nb\n").end())),
            Some((Vec::new(), 3, 1))
        );
    }
}
