//! Exit codes.

use std::process::ExitCode;

/// How the command ends. The numbers are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything is as expected.
    AsExpected = 0,
    /// Something is not as expected: a violation that should not be, or one that should and was not seen, or a search that was not finished.
    NotAsExpected = 1,
    /// The command was used wrongly, or a file is wrong.
    Usage = 2,
    /// A part of the environment that was required is missing.
    Environment = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
