//! What every script promises beside its own invariants, as handlers of the domain do.

use std::sync::Arc;

use super::Source;
use super::error::Problem;
use crate::domain::promise::{NO_DEADLOCK, NO_SERVER_ERROR};
use crate::machine::Failure;
use crate::system::{Breach, Invariant, View, When};

/// The promises that a file may leave out.
pub(crate) const NAMES: [&str; 2] = [NO_SERVER_ERROR.name, NO_DEADLOCK.name];

/// The promises of a script: those that `[world] promises` names, both unless given. A file that states one of them itself says what it wants of them,
/// and gets the other only when it names it. And that the steps are understood, which is no promise but what every verdict rests on.
pub(super) fn of(source: &Source<'_>, problems: &mut Vec<Problem>) -> Vec<Arc<dyn Invariant>> {
    let stated = source.sections.world.as_ref().and_then(|world| world.promises.as_ref());
    for name in stated.into_iter().flatten() {
        if !NAMES.contains(&name.get_ref().as_str()) {
            let problem = Problem::new(format!("unknown promise `{}`", name.get_ref()), name.span())
                .label(format!("expected {}", NAMES.join(" or ")))
                .nearest(name.get_ref(), NAMES);
            problems.push(problem);
        }
    }
    let is_own = |name: &str| {
        let mut sections = source.sections.invariants.iter();
        sections.any(|section| section.name.get_ref() == name)
    };
    let has_own = NAMES.into_iter().any(is_own);
    let is_wanted = |name: &str| {
        let named = match stated {
            Some(names) => names.iter().any(|known| known.get_ref() == name),
            None => !has_own || source.expect.invariants.iter().any(|known| known == name),
        };
        named && !is_own(name)
    };
    let mut all: Vec<Arc<dyn Invariant>> = Vec::new();
    if is_wanted(NO_SERVER_ERROR.name) {
        all.push(Arc::new(NoServerError));
    }
    if is_wanted(NO_DEADLOCK.name) {
        all.push(Arc::new(NoDeadlock));
    }
    if !is_own(UNDERSTOOD) {
        all.push(Arc::new(Understood));
    }
    all
}

/// `no-server-error`: of a script, whose steps need not say what becomes of a connection that a fault breaks: that they answer 500 then is the fault's doing.
#[derive(Debug)]
struct NoServerError;

impl Invariant for NoServerError {
    fn name(&self) -> &str {
        NO_SERVER_ERROR.name
    }

    fn promise(&self) -> &str {
        NO_SERVER_ERROR.promise
    }

    fn when(&self) -> When {
        When::Always
    }

    fn tells_apart(&self, _label: &str) -> bool {
        false
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let failed = view
            .exchanges()
            .filter_map(|exchange| Some((exchange.label, exchange.response?)))
            .filter(|(_, response)| response.status == 500);
        let by_fault = |label: &str| {
            let mut failures = view.failures();
            failures.any(|(failed, failure)| **failed == *label && failure == Failure::FromOutside)
        };
        let rows: Vec<String> = failed
            .filter(|(label, _)| !by_fault(label))
            .map(|(label, response)| format!("{label}: {response}"))
            .collect();
        match rows.first() {
            None => Ok(()),
            Some(first) => Err(Breach {
                invariant: self.name().into(),
                sentence: format!("a request is answered with a server error: {first}"),
                rows,
                is_error: false,
            }),
        }
    }
}

/// `no-deadlock`: of a script, where a statement that names the error in a catch or a retry says that it handles it.
#[derive(Debug)]
struct NoDeadlock;

impl Invariant for NoDeadlock {
    fn name(&self) -> &str {
        NO_DEADLOCK.name
    }

    fn promise(&self) -> &str {
        NO_DEADLOCK.promise
    }

    fn when(&self) -> When {
        When::Always
    }

    fn tells_apart(&self, _label: &str) -> bool {
        false
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let is_victim = |failure: &Failure| matches!(failure, Failure::DeadlockVictim);
        let victims = view.failures().filter(|(_, failure)| is_victim(failure));
        let rows: Vec<String> = victims.map(|(label, _)| label.to_string()).collect();
        match rows.first() {
            None => Ok(()),
            Some(victim) => Err(Breach {
                invariant: self.name().into(),
                sentence: format!("{victim} is the victim of a deadlock"),
                rows,
                is_error: false,
            }),
        }
    }
}

/// The name of [`Understood`].
const UNDERSTOOD: &str = "every-step-is-understood";

/// That no process ends because the database or a service does not understand what it asks for. Where one does, nothing can be said of what holds:
/// an error of the scenario.
#[derive(Debug)]
struct Understood;

impl Invariant for Understood {
    fn name(&self) -> &str {
        UNDERSTOOD
    }

    fn promise(&self) -> &str {
        "no process ends because the database or a service does not understand what it asks for"
    }

    fn when(&self) -> When {
        When::Always
    }

    fn tells_apart(&self, _label: &str) -> bool {
        false
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let mistakes = view.failures().filter_map(|(label, failure)| match failure {
            Failure::Mistake(why) => Some(format!("{label}: {why}")),
            Failure::DeadlockVictim | Failure::FromOutside => None,
        });
        let rows: Vec<String> = mistakes.collect();
        match rows.first() {
            None => Ok(()),
            Some(first) => Err(Breach {
                invariant: self.name().into(),
                sentence: format!(
                    "{first}; if that is meant, catch the error by its name, or write `errors = [...]` under `[expect]`"
                ),
                rows,
                is_error: true,
            }),
        }
    }
}
