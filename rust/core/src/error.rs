//! One error type: a kind that callers can act on, and a sentence that says what was wrong, where,
//! and what is accepted.

use std::fmt;

/// What went wrong, as a caller may want to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument is outside what is accepted.
    InvalidArgument,
    /// An index beyond the end of an axis.
    OutOfBounds,
    /// A weight or a coefficient is NaN or infinite.
    NonFinite,
    /// An element type that the call does not take.
    Dtype,
    /// A hyperplane whose equation has no solution at all: `0·x = c` with `c ≠ 0`.
    EmptyHyperplane,
    /// Stored bytes that are no valid code: truncated, altered, or of an unknown version.
    Format,
    /// A size that this machine or this format cannot hold.
    TooLarge,
    /// The system has not so much memory.
    OutOfMemory,
    /// The caller asked to stop through [`Control::cancel`](crate::Control::cancel).
    Cancelled,
}

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of the given kind; `message` says what was wrong, where, and what is accepted.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The kind, to be matched on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence for the reader.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
