//! What differs between releases of the server that the model stands for.

/// How a release of PostgreSQL behaves, where minor releases differ. The default is the newest behaviour.
///
/// Traits, not version numbers: distributions carry patches back, and what a server does can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    /// At SERIALIZABLE, `INSERT ... ON CONFLICT` reads the row that it conflicts with: it marks the row, and a doomed transaction
    /// fails there. True of 15.20; 15.18 did neither, so that a transaction whose INSERT did nothing could miss
    /// a conflict, or learn of it only at COMMIT.
    pub conflicting_row_is_read: bool,
    /// A serializable transaction that has its number before its snapshot (LOCK TABLE in ACCESS EXCLUSIVE mode came first) is known to those
    /// who meet its rows. True of 15.20; in 15.18 they made no edge to it, and a write skew could pass.
    pub early_number_is_known: bool,
}

impl Default for Release {
    fn default() -> Self {
        Release {
            conflicting_row_is_read: true,
            early_number_is_known: true,
        }
    }
}
