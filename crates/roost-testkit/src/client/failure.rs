//! What went wrong with a client, and where in the test.

use std::fmt;
use std::io;
use std::panic::Location;

/// What went otherwise than expected, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure with these words.
    pub fn new(words: impl Into<String>) -> Failure {
        Failure(words.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure(error.to_string())
    }
}

/// A failure and the line of a test that met it: `?` notes it.
pub struct Located {
    failure: Failure,
    at: &'static Location<'static>,
}

/// What a test returns.
pub type Checked = Result<(), Located>;

impl From<Failure> for Located {
    #[track_caller]
    fn from(failure: Failure) -> Located {
        let at = Location::caller();
        Located { failure, at }
    }
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.failure)
    }
}
