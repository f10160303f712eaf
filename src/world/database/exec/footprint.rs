//! What a call touched, as keys that a driver can compare without knowing the store.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use crate::world::database::store::{Access, AccessKind, Resource, TableId};

/// Keys with whether they were written: two calls conflict when they share a key that one of them wrote. Says at least
/// what [`Access::conflicts`] says.
pub(super) fn keys(accesses: &[Access]) -> Vec<(u64, bool)> {
    let mut keys = Vec::with_capacity(accesses.len() * 2);
    for access in accesses {
        let published = access.kind == AccessKind::Publish;
        let writes = access.kind != AccessKind::Read;
        match &access.resource {
            Resource::Everything => keys.push((0, published)),
            Resource::Table(table) => {
                keys.push((contents(*table), writes));
                if published {
                    keys.push((0, true));
                }
            }
            Resource::Row(table, _) => {
                keys.push((key(2, &access.resource), writes));
                keys.push((contents(*table), published));
                if published {
                    keys.push((0, true));
                }
            }
            Resource::Key(index, _) => {
                keys.push((key(3, &access.resource), writes));
                keys.push((key(4, index), false));
            }
            Resource::Keys(index) => keys.push((key(4, index), writes)),
            other => keys.push((key(3, other), writes)),
        }
    }
    keys.sort_unstable();
    // Of two entries for one key the later says "written".
    keys.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 |= later.1;
        }
        same
    });
    keys
}

fn contents(table: TableId) -> u64 {
    key(1, &table)
}

fn key(kind: u8, of: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    kind.hash(&mut hasher);
    of.hash(&mut hasher);
    hasher.finish().max(1)
}
