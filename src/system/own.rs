//! What a process does by itself between two steps: its own clock, values that nobody else gets.
//!
//! Reading one's own clock takes no network and cannot fail, so it is no step. But the clock may move between the step before and the
//! reading, and between the reading and the step after; who may look at another process only through effects can't tell which. The
//! reading is done with the step before it, and what the process was when it asked is kept until its next step: when the clock
//! moves on before that, it is a branch of this move whether the process reads (again) behind it.

use crate::machine::{Effect, Pid, Program, Reply};
use crate::world::World;

/// How often a process may ask its own runtime in a row; what it asks after that is a step like any other call.
const IN_A_ROW: usize = 10_000;

/// What a program does next.
pub(super) struct Next {
    /// Its next effect that others could notice.
    pub(super) effect: Effect,
    /// What it was each time that it asked for the time.
    pub(super) reads: Vec<Program>,
}

/// Steps a program, answering what is its own.
pub(super) fn next(world: &mut World, pid: Pid, program: &mut Program, mut reply: Reply) -> Next {
    let mut next = Next {
        effect: Effect::Done,
        reads: Vec::new(),
    };
    for _ in 0..IN_A_ROW {
        next.effect = program.step(reply);
        let Effect::Call(call) = &next.effect else { return next };
        let now = world.now;
        let Some(service) = world.services.get_mut(&call.service) else {
            return next;
        };
        if !service.get().is_own() {
            return next;
        }
        if service.get().tells_time(call) {
            next.reads.push(program.clone());
        }
        reply = Reply::Service(service.change(|service| service.call(pid, call, now)));
    }
    next.effect = program.step(reply);
    next
}
