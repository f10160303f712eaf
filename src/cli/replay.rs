//! `deadheat replay`: one schedule, step by step.

use std::fmt::Write as _;

use super::args::{On, Replay};
use super::exit::Exit;
use super::output::Output;
use crate::drive::postgres::conductor::{Conducted, conduct};
use crate::drive::postgres::stage::Stage;
use crate::report::{Ink, Lanes};
use crate::scenario::{Library, Scenario};
use crate::suite::Postgres;
use crate::system::Schedule;

pub(super) fn run(args: &Replay, library: &Library, output: &Output) -> Exit {
    let scenarios = match super::run::load(std::slice::from_ref(&args.file), library, output) {
        Ok(scenarios) => scenarios,
        Err(exit) => return exit,
    };
    let schedule: Schedule = match args.schedule.parse() {
        Ok(schedule) => schedule,
        Err(error) => return output.usage(error),
    };
    let sized = scenarios.iter().find_map(|scenario| scenario.sized_for(&schedule));
    let Some(scenario) = sized.or_else(|| scenarios.into_iter().next()) else {
        return output.usage(format!("`{}` holds no scenario", args.file.display()));
    };
    match args.on {
        On::Model => in_model(&scenario, &schedule, output),
        On::Postgres => match in_model(&scenario, &schedule, output) {
            Exit::Usage => Exit::Usage,
            exit => on_postgres(&scenario, &schedule, exit, output),
        },
    }
}

/// Runs the schedule on the server. `exit` is what the model came to, which counts where the server agrees.
fn on_postgres(scenario: &Scenario, schedule: &Schedule, exit: Exit, output: &Output) -> Exit {
    let postgres = Postgres::new(true);
    let server = match postgres.server() {
        Ok(server) => server,
        Err((_, reason)) => {
            output.message(&format!("deadheat: {reason}"));
            return Exit::Environment;
        }
    };
    output.message(&format!("postgres: {}", server.describe()));
    let stage = Stage::of(server, &scenario.system.spec().world.database);
    let conducted = match stage {
        Ok(mut stage) => conduct(&mut stage, &scenario.system, schedule).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let (text, exit) = match conducted {
        Ok(Conducted::Agreed) => (
            "postgres: every reply, wait, wake-up and final row is the model's".to_owned(),
            exit,
        ),
        Ok(Conducted::Followed { place, schedules }) => (followed(scenario, place, &schedules), Exit::NotAsExpected),
        Ok(Conducted::Differs(divergence)) => (
            format!("postgres: the model and the server differ, which is a mistake in deadheat: {divergence}"),
            Exit::NotAsExpected,
        ),
        Err(reason) => (format!("postgres: {reason}"), Exit::NotAsExpected),
    };
    output.result(&format!("{text}\n"));
    exit
}

/// Where the server went instead, with what that breaks.
fn followed(scenario: &Scenario, place: usize, schedules: &[Schedule]) -> String {
    let mut text = format!(
        "postgres: at step {place} the server goes another of the ways that are open to it; on that way every reply, wait, wake-up and \
         final row is the model's"
    );
    for schedule in schedules {
        let broken: Vec<String> = match scenario.system.replay(schedule) {
            Ok((_, state)) => {
                let breaches = scenario.system.breaches(&state, scenario.system.is_final(&state));
                breaches.iter().map(|breach| breach.invariant.to_string()).collect()
            }
            Err(_) => Vec::new(),
        };
        let breaks = match broken.is_empty() {
            true => "breaks nothing".to_owned(),
            false => format!("breaks {}", broken.join(", ")),
        };
        // Writing to a String can't fail.
        let _ = write!(text, "\n  {schedule} {breaks}");
    }
    text
}

fn in_model(scenario: &Scenario, schedule: &Schedule, output: &Output) -> Exit {
    let (trace, state) = match scenario.system.replay(schedule) {
        Ok(replayed) => replayed,
        Err(misfit) => return output.usage(misfit),
    };
    let lanes = Lanes {
        paint: output.paint,
        ..Lanes::default()
    };
    let mut text = format!("{}: {}\n\n", scenario.name, scenario.title);
    text.push_str(&lanes.draw(&scenario.system, &trace, &state));
    text.push('\n');
    let ended = scenario.system.is_final(&state);
    let breaches = scenario.system.breaches(&state, ended);
    for breach in &breaches {
        let is = if breach.is_error {
            "can't be judged"
        } else {
            "is violated"
        };
        let sentence = format!("{} {is}: {}", breach.invariant, breach.sentence);
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}", output.paint.ink(Ink::Red, &sentence));
    }
    if breaches.is_empty() {
        text.push_str("no invariant is violated\n");
    }
    match ended {
        true => {
            let _ = writeln!(text, "outcome: {}", scenario.system.outcome(&state));
        }
        false => text.push_str("the run has not ended: more can happen after these steps\n"),
    }
    output.result(&text);
    if breaches.iter().any(|breach| breach.is_error) {
        return Exit::Usage;
    }
    // As for `run`: a violation that the scenario expects is as expected.
    let expected = breaches
        .iter()
        .all(|breach| scenario.expect.violates.contains(&breach.invariant));
    match expected {
        true => Exit::AsExpected,
        false => Exit::NotAsExpected,
    }
}
