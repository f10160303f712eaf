//! Compiled steps: a flat list of operations, with jumps.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::expr::{Expr, Operand};

/// A place in the list of operations.
pub(crate) type Pc = u32;

/// Compiled steps. Two are the same when they were compiled from the same text in the same setting.
#[derive(Debug)]
pub(crate) struct Code {
    /// What distinguishes it: name, printed steps, names of the values.
    pub(crate) identity: Arc<str>,
    /// The operations.
    pub(crate) ops: Vec<Op>,
    /// The names of the slots.
    pub(crate) names: Vec<Arc<str>>,
    /// For each operation the slots that are read after it, as bits; empty when there are too many slots to tell.
    pub(crate) live: Vec<u128>,
    /// Where an error goes that nothing catches.
    pub(crate) epilogue: Pc,
    /// The isolation level of transactions that name none, unless it is the server's own.
    pub(crate) isolation: Option<Arc<str>>,
    /// Some step is done after a commit.
    pub(crate) hooks: bool,
    /// It answers requests: an error that nothing catches is answered with 500.
    pub(crate) answers: bool,
    /// Which of the scenario's processes it is.
    pub(crate) number: usize,
    /// For each operation where the step or the condition begins that it comes from, in the steps' text.
    pub(crate) origins: Vec<usize>,
    /// For each operation its line in the file; empty when that is not known.
    pub(crate) lines: Vec<usize>,
    /// SQLSTATEs and names of errors that the scenario expects although nothing catches them.
    pub(crate) expected: Vec<String>,
}

/// What of an operation is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was reached.
    Reached,
    /// It is an effect, and was answered without an error.
    Answered,
    /// It is a condition, and was true.
    True,
}

/// How many marks an operation has.
const MARKS: usize = 3;

impl Code {
    /// The place of an operation's mark among the notes.
    pub(crate) fn mark(pc: Pc, mark: Mark) -> usize {
        pc as usize * MARKS + mark as usize
    }

    /// The place of the note that it came to an end without an error.
    pub(crate) fn end_mark(&self) -> usize {
        self.ops.len() * MARKS
    }

    /// How many notes there can be.
    pub(crate) fn marks(&self) -> usize {
        self.end_mark() + 1
    }
}

/// Shared code, compared by what it was compiled from.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Arc<Code>);

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.identity == other.0.identity
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The length is enough to tell most apart, and all that are apart are compared in full.
        self.0.identity.len().hash(state);
    }
}

/// What a statement does to the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Opens a transaction block.
    Begin,
    /// Ends it.
    Commit,
    /// Undoes it.
    Rollback,
    /// Marks a place in it.
    Savepoint(Arc<str>),
    /// Undoes what came after the place.
    RollbackTo(Arc<str>),
    /// Forgets the place, keeps what came after it.
    Release(Arc<str>),
    /// Anything else.
    Plain,
}

/// One operation. Those that are effects wait for their reply with the place still at them.
#[derive(Debug)]
pub(crate) enum Op {
    /// A SQL statement.
    Sql {
        text: Arc<str>,
        params: Vec<Operand>,
        /// Where the text needs a cast for the server to know an operator.
        casts: Vec<Cast>,
        bind: Option<u16>,
        control: Control,
    },
    /// `rollback`, if a transaction is open that was not when the innermost retry began.
    RollbackIfOpen,
    /// A value.
    Let { slot: u16, value: Expr },
    /// A call to a service.
    Call {
        service: Arc<str>,
        operation: Arc<str>,
        arguments: Vec<(Arc<str>, Expr)>,
        bind: Option<u16>,
    },
    /// A call with the operands of an atomic block, by the names that the block has for them.
    Atomic {
        script: Arc<str>,
        operands: Vec<(Arc<str>, Operand)>,
        bind: Option<u16>,
    },
    /// A request.
    Send {
        endpoint: Arc<str>,
        fields: Vec<(Arc<str>, Expr)>,
        headers: Vec<(Arc<str>, Expr)>,
        bind: Option<u16>,
    },
    /// The response.
    Respond { status: Expr, body: Body },
    /// 500, for a handler whose error nothing caught.
    RespondFailure,
    /// Waits; microseconds in a unit, 0 when the amount is an interval.
    Sleep { amount: Expr, unit: i64 },
    /// Starts a process.
    Spawn { label: Arc<str>, entry: Pc },
    /// Notes a hook for when the transaction has been committed.
    Hook { entry: Pc },
    /// The end of a hook.
    HookEnd,
    /// Goes on elsewhere.
    Jump(Pc),
    /// Goes on elsewhere unless the condition holds.
    Unless { condition: Expr, target: Pc },
    /// Begins a loop of that many rounds.
    Loop { most: Option<Expr> },
    /// The next round, or out of the loop.
    Next { exit: Pc },
    /// Begins a loop over rows.
    Each { rows: u16, most: Option<Expr> },
    /// The next row, or out of the loop.
    NextRow { row: u16, exit: Pc },
    /// Begins a loop over whole numbers.
    Count { from: Expr, to: Expr },
    /// The next number, or out of the loop.
    NextNumber { slot: u16, exit: Pc },
    /// From here on an error goes on at `target`.
    Try { target: Pc },
    /// From here on an error of these names goes on at `again`, that many times.
    Retry { times: Expr, on: Vec<Arc<str>>, again: Pc },
    /// The innermost loop, try or retry is over.
    Pop,
    /// Whether the error that is being handled has one of these names; if so it is handled and gets a name, else on to `next`.
    Catch {
        names: Vec<Arc<str>>,
        slot: Option<u16>,
        next: Pc,
    },
    /// The error that is being handled goes on.
    Rethrow,
    /// An error of the script's own.
    Raise { name: Arc<str>, message: Option<Expr> },
    /// Gives the block's value, and ends.
    Give(Option<Expr>),
    /// Ends the process.
    End,
}

/// A place behind a parameter that stands beside an operator: written as an untyped literal, it would be taken for what the other side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cast {
    /// Behind which byte of the text.
    pub(crate) behind: usize,
    /// Of which parameter, from 0.
    pub(crate) param: usize,
    /// The other side is a parameter too, and has no type either. Else only moments and spans of time need it: the server would read the `:t`
    /// of `:t - interval '1 day'` as an interval.
    pub(crate) always: bool,
}

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// None.
    Empty,
    /// One value.
    Value(Expr),
    /// An object.
    Fields(Vec<(Arc<str>, Expr)>),
}

impl Op {
    /// Whether it asks the world for something.
    pub(crate) fn is_effect(&self) -> bool {
        matches!(
            self,
            Op::Sql { .. }
                | Op::Call { .. }
                | Op::Atomic { .. }
                | Op::Send { .. }
                | Op::Respond { .. }
                | Op::Sleep { .. }
                | Op::Spawn { .. }
        )
    }

    /// What it asks for, as the file has it as far as that is kept.
    pub(crate) fn text(&self) -> String {
        match self {
            Op::Sql { text, .. } => text.split_whitespace().collect::<Vec<_>>().join(" "),
            Op::Call { service, operation, .. } => format!("{service} {operation}"),
            Op::Atomic { script, .. } => format!("atomic {{ {script} }}"),
            Op::Send { endpoint, .. } => format!("send {endpoint}"),
            Op::Let { value, .. } => value.text(),
            Op::Unless { condition, .. } => condition.text(),
            Op::Respond { status, .. } => format!("respond {}", status.text()),
            Op::Raise { name, .. } => format!("raise {name}"),
            Op::Sleep { .. } => "sleep".to_owned(),
            Op::Spawn { label, .. } => format!("spawn {label}"),
            _ => "a loop".to_owned(),
        }
    }

    /// The slots that it reads, and the one that it writes.
    fn uses(&self) -> (u128, u128) {
        let of = |operands: &[Operand]| operands.iter().fold(0, |bits, operand| bits | bit(operand.slot));
        let fields = |fields: &[(Arc<str>, Expr)]| fields.iter().fold(0, |bits, (_, expr)| bits | of(expr.operands()));
        let maybe = |expr: &Option<Expr>| expr.as_ref().map_or(0, |expr| of(expr.operands()));
        let slot = |slot: &Option<u16>| slot.map_or(0, bit);
        match self {
            Op::Sql { params, bind, .. } => (of(params), slot(bind)),
            Op::Let { slot, value } => (of(value.operands()), bit(*slot)),
            Op::Call { arguments, bind, .. } => (fields(arguments), slot(bind)),
            Op::Atomic { operands, bind, .. } => {
                let read = operands.iter().fold(0, |bits, (_, operand)| bits | bit(operand.slot));
                (read, slot(bind))
            }
            Op::Send {
                fields: body,
                headers,
                bind,
                ..
            } => (fields(body) | fields(headers), slot(bind)),
            Op::Respond { status, body } => {
                let body = match body {
                    Body::Empty => 0,
                    Body::Value(value) => of(value.operands()),
                    Body::Fields(values) => fields(values),
                };
                (of(status.operands()) | body, 0)
            }
            Op::Sleep { amount, .. } => (of(amount.operands()), 0),
            Op::Unless { condition, .. } => (of(condition.operands()), 0),
            Op::Loop { most } | Op::Give(most) | Op::Raise { message: most, .. } => (maybe(most), 0),
            Op::Each { rows, most } => (bit(*rows) | maybe(most), 0),
            Op::NextRow { row, .. } => (0, bit(*row)),
            Op::Count { from, to } => (of(from.operands()) | of(to.operands()), 0),
            Op::NextNumber { slot, .. } => (0, bit(*slot)),
            Op::Retry { times, .. } => (of(times.operands()), 0),
            Op::Catch { slot: caught, .. } => (0, slot(caught)),
            Op::RollbackIfOpen
            | Op::RespondFailure
            | Op::Spawn { .. }
            | Op::Hook { .. }
            | Op::HookEnd
            | Op::Jump(_)
            | Op::Next { .. }
            | Op::Try { .. }
            | Op::Pop
            | Op::Rethrow
            | Op::End => (0, 0),
        }
    }

    /// Where it may go on beside the next operation, and whether it may go on there.
    fn jumps(&self) -> (Vec<Pc>, bool) {
        match self {
            Op::Jump(target) => (vec![*target], false),
            Op::Unless { target, .. } => (vec![*target], true),
            Op::Next { exit } | Op::NextRow { exit, .. } | Op::NextNumber { exit, .. } => (vec![*exit], true),
            Op::Spawn { entry, .. } | Op::Hook { entry } => (vec![*entry], true),
            Op::Catch { next, .. } => (vec![*next], true),
            Op::Try { target } => (vec![*target], true),
            Op::Retry { again, .. } => (vec![*again], true),
            Op::HookEnd | Op::Rethrow | Op::Raise { .. } | Op::Give(_) | Op::End => (Vec::new(), false),
            _ => (Vec::new(), true),
        }
    }
}

pub(crate) fn bit(slot: u16) -> u128 {
    1_u128.checked_shl(slot.into()).unwrap_or(0)
}

/// For each operation the slots that may be read after it. `handlers` are, for each operation, the places where an error of it may go on.
pub(crate) fn liveness(ops: &[Op], handlers: &[Vec<Pc>], slots: usize) -> Vec<u128> {
    if slots > 128 {
        return Vec::new();
    }
    let mut live_in = vec![0_u128; ops.len()];
    let mut live_out = vec![0_u128; ops.len()];
    loop {
        let mut changed = false;
        for place in (0..ops.len()).rev() {
            let (jumps, falls) = ops[place].jumps();
            let next = (falls && place + 1 < ops.len()).then_some(place as Pc + 1);
            let after = jumps.iter().chain(&next).chain(&handlers[place]);
            let out = after.fold(0, |bits, target| {
                bits | live_in.get(*target as usize).copied().unwrap_or(0)
            });
            let (reads, writes) = ops[place].uses();
            // What an operation writes is still needed where its error goes on, so it is only left out when there is no such place.
            let kept = if handlers[place].is_empty() { out & !writes } else { out };
            let into = kept | reads;
            changed |= live_out[place] != out || live_in[place] != into;
            live_out[place] = out;
            live_in[place] = into;
        }
        if !changed {
            return live_out;
        }
    }
}
