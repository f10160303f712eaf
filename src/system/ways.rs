//! The ways that a step can go: what the world decides, and where its statements are stopped.

use smallvec::SmallVec;

use super::points::{Log, Passed, Points};
use super::step::{Step, Stop};
use crate::machine::{Access, Branch, Pid, Point, Scripted};

/// Where a step is among its statements and their points: what a [`Stop`] of a schedule is counted by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    statement: Option<u8>,
    point: u16,
}

impl Place {
    /// A statement begins, or goes on.
    pub(crate) fn begin(&mut self) {
        self.statement = Some(self.statement.map_or(0, |number| number.saturating_add(1)));
        self.point = 0;
    }

    /// The statement comes to its next point; this one.
    pub(crate) fn pass(&mut self) -> Stop {
        let here = Stop {
            statement: self.statement.unwrap_or(0),
            point: self.point,
        };
        self.point = self.point.saturating_add(1);
        here
    }
}

/// Answers the questions of a step: one run of it.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    points: &'a Points,
    script: Scripted,
    /// For a recorded step: where to stop. Otherwise the script decides.
    recorded: Option<&'a [Stop]>,
    /// What the world decided.
    branch: Vec<u8>,
    stops: SmallVec<[Stop; 1]>,
    place: Place,
    log: Log,
}

impl<'a> Ways<'a> {
    /// One run of all that `points` allows; the script says which.
    pub(super) fn of(points: &'a Points, script: Scripted) -> Self {
        Ways {
            points,
            script,
            recorded: None,
            branch: Vec::new(),
            stops: SmallVec::new(),
            place: Place::default(),
            log: Log::default(),
        }
    }

    /// The run that was recorded.
    pub(super) fn recorded(step: &'a Step) -> Self {
        Ways {
            recorded: Some(&step.stops),
            ..Ways::of(&Points::None, Scripted::new(&step.branch))
        }
    }

    /// The script of the next run, if there is one.
    pub(super) fn next(&self) -> Option<Scripted> {
        self.script.next()
    }

    /// Whether the recorded run is not one of the step's.
    pub(super) fn misfit(&self) -> bool {
        self.script.misfit() || self.recorded.is_some_and(|recorded| recorded != &self.stops[..])
    }

    /// What the world decided, without the usual answers at the end; and where statements were stopped.
    pub(super) fn taken(self) -> (SmallVec<[u8; 4]>, SmallVec<[Stop; 1]>, Log) {
        let mut branch = self.branch;
        while branch.last() == Some(&0) {
            branch.pop();
        }
        (branch.into(), self.stops, self.log)
    }
}

impl Branch for Ways<'_> {
    fn choose(&mut self, options: usize) -> usize {
        let answer = self.script.choose(options);
        self.branch.push(answer as u8);
        answer
    }

    fn begin(&mut self, _session: Pid) {
        self.place.begin();
    }

    fn stop(&mut self, session: Pid, point: Point<'_>) -> bool {
        let here = self.place.pass();
        if matches!(self.points, Points::Seen(_)) {
            self.log.passed.push(Passed::at(session, point));
        }
        let stops = match self.recorded {
            Some(recorded) => recorded.contains(&here),
            None => self.points.allow(session, point) && self.script.choose(2) == 1,
        };
        if stops {
            self.stops.push(here);
        }
        stops
    }

    fn note(&mut self, session: Pid, access: Access) {
        if matches!(self.points, Points::Seen(_)) {
            self.log.noted.push((session, access));
        }
    }
}
