//! Running another library's checker so that its panics are ours to tell, not its to print.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread of its own, without a panic message on stderr. A panic comes back as its text.
pub(super) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    hush();
    let outcome = thread::scope(|scope| {
        let spawned = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            QUIET.set(true);
            panic::catch_unwind(AssertUnwindSafe(work))
        });
        spawned.map(|worker| worker.join().unwrap_or_else(Err))
    });
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(payload)) => Err(text(&*payload)),
        Err(error) => Err(format!("can't start a thread: {error}")),
    }
}

/// Checkers interpret SQL on their own stacks, but what they call at the end of a run they call on ours.
const STACK: usize = 16 << 20;

fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // shuttle puts a hook of its own around whatever is there when it first runs, and it prints for every panic of every thread. It has
        // to come first, so that ours is around it.
        shuttle::check_random(|| {}, 1);
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
}

fn text(payload: &(dyn Any + Send)) -> String {
    let known = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    known.unwrap_or_else(|| "it panicked without a message".to_owned())
}
