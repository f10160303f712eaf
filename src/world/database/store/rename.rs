//! Other names for the sessions: what makes two states alike but for who is who.

use std::sync::Arc;

use super::Store;
use super::heap::Stamp;
use super::waiting::WaitOn;
use crate::machine::Renaming;

impl Store {
    /// Calls every session by another name, wherever there is one.
    pub fn rename(&mut self, names: &Renaming) {
        for session in &mut self.sessions {
            session.id = names.pid(session.id);
            if let Some(wait) = &mut session.wait
                && let WaitOn::Transaction { holder, .. } = &mut wait.on
            {
                *holder = names.pid(*holder);
            }
        }
        self.sessions.sort_by_key(|session| session.id);
        for lock in &mut self.row_locks {
            lock.session = names.pid(lock.session);
        }
        for lock in &mut self.locks {
            for holder in &mut lock.holders {
                holder.session = names.pid(holder.session);
            }
            lock.holders.sort_by_key(|holder| (holder.session, holder.mode));
            for request in &mut lock.queue {
                request.session = names.pid(request.session);
            }
        }
        for tx in &mut self.ssi.txs {
            tx.session = tx.session.map(|session| names.pid(session));
        }
        for heap in self.tables.iter_mut().flatten().filter(|heap| !heap.settled) {
            for stamp in Arc::make_mut(heap).stamps() {
                if let Stamp::Live { session, .. } = stamp {
                    *session = names.pid(*session);
                }
            }
        }
    }
}
