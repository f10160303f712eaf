//! Machines as state diagrams, drawn from what really happens: the states and steps that a search comes by.
//!
//! States are those that a machine names ([`Machine::state`](crate::machine::Machine::state)). A step is labelled with what the machine did or
//! was told. Data of a state is left out, so that a diagram is smaller than the space it was drawn from. A script is its own
//! diagram and is not drawn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::words;
use crate::machine::{Effect, Pid, Program, Reply};
use crate::system::{Event, Fault, State, Status, System};

/// More labels than this on one arrow are counted, not listed.
const MOST_LABELS: usize = 3;

/// Where a machine begins and ends, in mermaid's words.
const OUTSIDE: &str = "[*]";

/// Diagrams of machines, filled by looking at systems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagrams {
    machines: BTreeMap<Arc<str>, Arrows>,
    cut: bool,
}

type Arrows = BTreeMap<(&'static str, &'static str), BTreeSet<String>>;

impl Diagrams {
    /// Looks at the states of a system, at most so many of them, those with the shortest way first. Returns whether that was all.
    #[expect(
        clippy::mutable_key_type,
        reason = "the only thing that changes is a cache of plans, which neither equality nor hash looks at"
    )]
    pub fn look(&mut self, system: &System, most: usize) -> bool {
        let initial = system.initial();
        for process in initial.processes.values() {
            self.arrow(&process.program, OUTSIDE, process.program.state(), "");
        }
        let mut seen: FxHashSet<State> = FxHashSet::default();
        seen.insert(initial.clone());
        let mut next = VecDeque::from([initial]);
        let mut ways = Vec::new();
        while let Some(state) = next.pop_front() {
            for action in system.enabled(&state) {
                system.outcomes(&state, action, &mut ways);
                for (_, after, taken) in ways.drain(..) {
                    self.step(&state, &after, &taken.events);
                    if seen.contains(&after) {
                        continue;
                    }
                    if seen.len() >= most {
                        self.cut = true;
                        return false;
                    }
                    seen.insert(after.clone());
                    next.push_back(after);
                }
            }
        }
        true
    }

    /// The names of the states that were reached, by machine.
    pub fn states(&self) -> BTreeMap<Arc<str>, BTreeSet<&'static str>> {
        let reached = self.machines.iter().map(|(machine, arrows)| {
            let ends = arrows.keys().flat_map(|(from, to)| [*from, *to]);
            (machine.clone(), ends.filter(|state| *state != OUTSIDE).collect())
        });
        reached.collect()
    }

    /// One mermaid state diagram for each machine, each under a heading, as Markdown.
    pub fn mermaid(&self) -> String {
        let mut text = String::new();
        if self.cut {
            text.push_str("Some scenarios have more states than were looked at: arrows may be missing.\n\n");
        }
        for (machine, arrows) in &self.machines {
            // Writing to a String can't fail.
            let _ = writeln!(text, "## {machine}\n\n```mermaid\nstateDiagram-v2");
            let mut names: BTreeMap<&str, String> = BTreeMap::new();
            for state in arrows.keys().flat_map(|(from, to)| [*from, *to]) {
                let number = names.len() + 1;
                names.entry(state).or_insert_with(|| match state {
                    OUTSIDE => OUTSIDE.to_owned(),
                    _ => format!("s{number}"),
                });
            }
            for (state, name) in names.iter().filter(|(state, _)| **state != OUTSIDE) {
                let _ = writeln!(text, "    state \"{state}\" as {name}");
            }
            for ((from, to), labels) in arrows {
                let _ = write!(text, "    {} --> {}", names[from], names[to]);
                let label = label(labels);
                let _ = match label.is_empty() {
                    true => writeln!(text),
                    false => writeln!(text, " : {label}"),
                };
            }
            text.push_str("```\n\n");
        }
        text
    }

    fn step(&mut self, before: &State, after: &State, events: &[Event]) {
        for (pid, process) in &after.processes {
            let Some(old) = before.processes.get(pid) else {
                self.arrow(&process.program, OUTSIDE, process.program.state(), "");
                continue;
            };
            if old == process || !old.is_alive() {
                continue;
            }
            let (from, to) = (old.program.state(), process.program.state());
            let label = told(*pid, events);
            if process.status == Status::Finished {
                if from != to {
                    self.arrow(&old.program, from, to, &label);
                }
                self.arrow(&old.program, to, OUTSIDE, if from == to { &label } else { "" });
            } else if !process.is_alive() {
                self.arrow(&old.program, from, OUTSIDE, &label);
            } else if old.program != process.program {
                self.arrow(&old.program, from, to, &label);
            }
        }
    }

    fn arrow(&mut self, program: &Program, from: &'static str, to: &'static str, label: &str) {
        let machine = program.name();
        if machine.is_empty() {
            return;
        }
        let named = |state: &'static str| if state.is_empty() { "running" } else { state };
        let arrows = self.machines.entry(machine.into()).or_default();
        let labels = arrows.entry((named(from), named(to))).or_default();
        if !label.is_empty() {
            labels.insert(label.to_owned());
        }
    }
}

fn label(labels: &BTreeSet<String>) -> String {
    let mut shown: Vec<String> = labels.iter().take(MOST_LABELS).cloned().collect();
    if let Some(more) = labels.len().checked_sub(MOST_LABELS).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    // A colon or a semicolon would end the label for mermaid.
    shown.join(", ").replace([':', ';', '\n'], " ")
}

/// What a process did or was told in a step.
fn told(pid: Pid, events: &[Event]) -> String {
    let mine = events.iter().find_map(|event| match event {
        Event::Did {
            pid: who,
            effect,
            reply,
        } if *who == pid => {
            let failed = reply.as_ref().map(failure).unwrap_or_default();
            Some(format!("{}{failed}", did(effect)))
        }
        Event::Received { pid: who, reply } | Event::Woken { pid: who, reply } if *who == pid => {
            let failed = failure(reply);
            Some(if failed.is_empty() {
                "goes on".to_owned()
            } else {
                failed
            })
        }
        Event::Faulted { pid: who, fault } if *who == pid => Some(match fault {
            Fault::Timeout => "gives up waiting".to_owned(),
            Fault::Crash => "crashes".to_owned(),
            fault => format!("{fault:?}").to_lowercase(),
        }),
        _ => None,
    });
    mine.unwrap_or_else(|| match events.first() {
        Some(Event::Clock { .. }) => "time passes".to_owned(),
        _ => String::new(),
    })
}

/// An effect without its values.
fn did(effect: &Effect) -> String {
    match effect {
        Effect::Sql(sql) => {
            let words: Vec<&str> = sql.text.split_whitespace().collect();
            let most = match words.first().map(|word| word.to_ascii_lowercase()).as_deref() {
                Some("insert" | "delete") => 3,
                Some("update") => 2,
                Some("select" | "with") => 1,
                _ => 2,
            };
            words.into_iter().take(most).collect::<Vec<_>>().join(" ")
        }
        Effect::Call(call) => format!("{}.{}", call.service, call.operation),
        Effect::Send(request) => request.endpoint.to_string(),
        Effect::Respond(response) => format!("responds {}", response.status),
        Effect::Spawn { .. } => "starts another".to_owned(),
        Effect::Sleep(_) => "sleeps".to_owned(),
        Effect::Done => "ends".to_owned(),
    }
}

/// How a reply tells of a failure; empty for one that does not.
fn failure(reply: &Reply) -> String {
    match reply {
        Reply::Sql(Err(error)) => format!(" ✗ {}", error.code),
        Reply::Service(Err(none)) | Reply::Response(Err(none)) => format!(" ✗ {}", words::no_answer(*none)),
        Reply::Response(Ok(response)) => format!("← {}", response.status),
        _ => String::new(),
    }
}
