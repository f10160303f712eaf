//! Gates: places inside a statement where a real server's session can be made to stop, without a change of the statement's text.
//!
//! Each table of the stage's throw-away database gets three triggers that call one function. The function does nothing unless its
//! session's own setting `deadheat.gate` names that very gate. Then it asks for an advisory lock that a *keeper*, a session of our own,
//! holds: the statement waits inside, everybody else goes on, and once the keeper gives way so does the statement.
//!
//! What each gate stops was found by experiment, and `tests/gates.rs` repeats it:
//!
//! | gate | trigger | has happened | has not |
//! | --- | --- | --- | --- |
//! | [`At::Start`] | BEFORE, for each statement | the snapshot was taken | no row was read or locked |
//! | [`At::Row`] | BEFORE, for each row | UPDATE and DELETE: the row is locked, and its newest version was looked at; rows before it are written | the row is not written; INSERT: its keys are not entered, no twin was looked for |
//! | [`At::Commit`] | constraint trigger, deferred | every row is written | the transaction (of one statement, outside of a block) is not committed |
//!
//! The keeper waits for nobody, so that no deadlock goes through it, and a session's `deadlock_timeout` starts anew with each wait. Time at a gate counts for
//! `lock_timeout` and `statement_timeout`. A statement that locks without writing (`SELECT ... FOR UPDATE`, advisory locks) meets no gate: see
//! [`super::provoke`].
//!
//! The advisory locks are those of two numbers with [`CLASS`] as the first, so that no lock of a scenario is among them.

use super::stage::Stage;
use super::wire::{Place, Wires, WiresError};

/// The first number of every gate's advisory lock; the second is the session's place. A scenario that locks
/// `pg_advisory_lock(1684365668, n)` itself would meet them.
pub const CLASS: i32 = 1_684_365_668;

/// A place in a statement where it can be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The table that is written, as [`Stage::tables`] names it.
    pub table: String,
    /// What the statement does to it. An INSERT with ON CONFLICT DO UPDATE does both.
    pub deed: Deed,
    /// Where in the statement.
    pub at: At,
}

/// What a statement does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It inserts.
    Insert,
    /// It updates.
    Update,
    /// It deletes.
    Delete,
}

/// Where in a statement; see the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After its snapshot, before its first row.
    Start,
    /// At this row, counted from 1 as the server comes to them.
    Row(u32),
    /// Before the commit of a statement outside of a transaction. Only one that wrote a row comes there.
    Commit,
}

/// Where a session came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// To its gate, where it waits.
    Gate,
    /// To a lock of these, before its gate.
    Blocked(Vec<Place>),
    /// To the statement's end: it never came to its gate.
    End,
}

/// The gates of a stage, and their keeper.
#[derive(Debug)]
pub struct Gates {
    keeper: Place,
    /// For which making of the stage's schema they were built.
    made: u64,
}

impl Gates {
    /// Builds the gates of a stage's tables.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn build(stage: &mut Stage) -> Result<Gates, WiresError> {
        let keeper = stage.keeper()?;
        let mut gates = Gates { keeper, made: 0 };
        gates.stand(stage)?;
        Ok(gates)
    }

    /// Builds them again if the stage has made its schema anew since: a schedule that changes the schema takes the triggers with it.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn stand(&mut self, stage: &mut Stage) -> Result<(), WiresError> {
        if self.made == stage.made() {
            return Ok(());
        }
        let mut script = FUNCTION.to_owned();
        for table in stage.tables() {
            let name = literal(table);
            script.push_str(&format!(
                "CREATE TRIGGER deadheat_gate_start BEFORE INSERT OR UPDATE OR DELETE ON {table} \
                     FOR EACH STATEMENT EXECUTE FUNCTION deadheat.gate({name}, 'start'); \
                 CREATE TRIGGER deadheat_gate_row BEFORE INSERT OR UPDATE OR DELETE ON {table} \
                     FOR EACH ROW EXECUTE FUNCTION deadheat.gate({name}, 'row'); \
                 CREATE CONSTRAINT TRIGGER deadheat_gate_commit AFTER INSERT OR UPDATE OR DELETE ON {table} \
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION deadheat.gate({name}, 'commit'); "
            ));
        }
        stage.wires().control(&script).rows("building the gates")?;
        self.made = stage.made();
        Ok(())
    }

    /// Takes the gates away again: schedules that need none run without triggers.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn take_away(self, stage: &mut Stage) -> Result<(), WiresError> {
        self.keep(stage.wires(), "pg_catalog.pg_advisory_unlock_all()")?;
        let drop = "DROP FUNCTION deadheat.gate() CASCADE";
        stage.wires().control(drop).rows("taking the gates away").map(drop_rows)
    }

    /// Closes a gate for the next statement of an idle session, which must not be in a failed transaction.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn close(&self, wires: &mut Wires, place: Place, gate: &Gate) -> Result<(), WiresError> {
        self.keep(wires, &format!("pg_catalog.pg_advisory_lock({CLASS}, {place})"))?;
        let deed = match gate.deed {
            Deed::Insert => "INSERT",
            Deed::Update => "UPDATE",
            Deed::Delete => "DELETE",
        };
        let (at, row) = match gate.at {
            At::Start => ("start", 1),
            At::Row(row) => ("row", row),
            At::Commit => ("commit", 1),
        };
        let setting = literal(&format!("{place} {deed} {at} {row} {}", gate.table));
        wires.launch(place, &format!("SET deadheat.gate = {setting}"));
        wires.answer(place)?.rows("closing a gate").map(drop_rows)
    }

    /// Waits until the session's statement has come somewhere.
    ///
    /// # Errors
    /// When nothing was launched there, or the server cannot be asked.
    pub fn reached(&self, wires: &mut Wires, place: Place) -> Result<Reached, WiresError> {
        Ok(match wires.finished_or_blocked(place)? {
            None => Reached::End,
            Some(blockers) if blockers == [self.keeper] => Reached::Gate,
            Some(blockers) => Reached::Blocked(blockers),
        })
    }

    /// Lets the session that waits at its gate go on.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn give_way(&self, wires: &mut Wires, place: Place) -> Result<(), WiresError> {
        self.keep(wires, &format!("pg_catalog.pg_advisory_unlock({CLASS}, {place})"))
    }

    /// Opens every gate, for the next run.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn open_all(&self, wires: &mut Wires) -> Result<(), WiresError> {
        self.keep(wires, "pg_catalog.pg_advisory_unlock_all()")
    }

    fn keep(&self, wires: &mut Wires, call: &str) -> Result<(), WiresError> {
        wires.launch(self.keeper, &format!("SELECT {call}"));
        wires.answer(self.keeper)?.rows("keeping a gate").map(drop_rows)
    }
}

fn drop_rows<T>(_: T) {}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The setting is `PLACE DEED AT ROW TABLE`; a gate counts down to its row, and forgets itself when it was passed.
const FUNCTION: &str = "
CREATE OR REPLACE FUNCTION deadheat.gate() RETURNS trigger LANGUAGE plpgsql AS $gate$
DECLARE
    wanted text := pg_catalog.current_setting('deadheat.gate', true);
    parts text[];
BEGIN
    IF wanted <> '' THEN
        parts := pg_catalog.regexp_match(wanted, '^(\\d+) (\\w+) (\\w+) (\\d+) (.*)$');
        IF parts[2] = TG_OP AND parts[3] = TG_ARGV[1] AND parts[5] = TG_ARGV[0] THEN
            IF parts[4]::int > 1 THEN
                parts[4] := parts[4]::int - 1;
                PERFORM pg_catalog.set_config('deadheat.gate', pg_catalog.array_to_string(parts, ' '), false);
            ELSE
                PERFORM pg_catalog.set_config('deadheat.gate', '', false);
                PERFORM pg_catalog.pg_advisory_lock(1684365668, parts[1]::int);
                PERFORM pg_catalog.pg_advisory_unlock(1684365668, parts[1]::int);
            END IF;
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $gate$; ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_locks_what_the_keeper_keeps() {
        assert_eq!(FUNCTION.matches(&format!("({CLASS}, ")).count(), 2);
    }
}
