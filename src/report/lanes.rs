//! A trace as lanes: a column for each process, time running down.
//!
//! Up to four processes get columns of their own width. With more, the columns move together and a cell may run over the lanes to its right:
//! in each row only one process has something to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::paint::{Ink, Paint};
use super::words;
use crate::machine::Pid;
use crate::system::{Event, State, Step, System, Trace};
use crate::world::database::Database;

/// How lanes are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    /// Characters in a line.
    pub width: usize,
    /// The number of the decisive step, from 1.
    pub decisive: Option<usize>,
    /// Colours.
    pub paint: Paint,
}

impl Default for Lanes {
    /// 100 characters, no colour.
    fn default() -> Self {
        Lanes {
            width: 100,
            decisive: None,
            paint: Paint::PLAIN,
        }
    }
}

/// Columns narrower than this are not worth having.
const NARROWEST: usize = 22;
/// The step number and its mark.
const MARGIN: usize = 6;

impl Lanes {
    /// Draws a trace of a system. `end` is the state after it: it knows every process by name.
    pub fn draw(&self, system: &System, trace: &Trace, end: &State) -> String {
        let names = names(system, trace, end);
        let columns = Columns::new(self.width.saturating_sub(MARGIN), names);
        let mut lines = columns.header(self.paint);
        let mut now = system.spec().world.now;
        for (place, (step, events)) in trace.0.iter().enumerate() {
            let mut cells = cells(step, events, &columns.names, &end.world.database, &mut now);
            if cells.is_empty() {
                cells.push(Cell::of(step.pid(), "goes on".to_owned(), Ink::Plain));
            }
            let number = place + 1;
            let decisive = self.decisive == Some(number);
            for (first, cell) in cells.iter().enumerate().map(|(index, cell)| (index == 0, cell)) {
                columns.row(first.then_some((number, decisive)), cell, self.paint, &mut lines);
            }
        }
        let mut text = lines.join("\n");
        text.push('\n');
        text
    }
}

/// Everybody who appears in the trace, in the order of their identities.
fn names(system: &System, trace: &Trace, end: &State) -> BTreeMap<Pid, Arc<str>> {
    let mut names = BTreeMap::new();
    let mut add = |pid: Pid| {
        let label = end.processes.get(&pid).map(|process| process.label.clone());
        let root = || {
            system
                .spec()
                .roots
                .get(usize::from(pid.top()))
                .map(|root| root.label.clone())
        };
        names.insert(pid, label.or_else(root).unwrap_or_else(|| pid.to_string().into()));
    };
    for (step, events) in &trace.0 {
        step.pid().into_iter().for_each(&mut add);
        for event in events {
            match event {
                Event::Did { pid, .. }
                | Event::Received { pid, .. }
                | Event::Blocked { pid, .. }
                | Event::Stopped { pid, .. }
                | Event::WentOn { pid }
                | Event::Woken { pid, .. }
                | Event::Notice { pid, .. }
                | Event::Faulted { pid, .. }
                | Event::Refused { pid, .. }
                | Event::Dropped { pid, .. } => add(*pid),
                Event::Started { .. } | Event::Ended { .. } | Event::Clock { .. } => {}
            }
        }
    }
    names
}

/// What one process has to say in a row.
struct Cell {
    pid: Option<Pid>,
    text: String,
    ink: Ink,
}

impl Cell {
    fn of(pid: Option<Pid>, text: String, ink: Ink) -> Cell {
        Cell { pid, text, ink }
    }
}

fn cells(
    step: &Step,
    events: &[Event],
    names: &BTreeMap<Pid, Arc<str>>,
    database: &Database,
    now: &mut i64,
) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let called = |pid: &Pid| names.get(pid).map_or_else(|| pid.to_string(), |name| name.to_string());
    for event in events {
        let cell = match event {
            Event::Did { pid, effect, reply } => {
                let mut text = words::effect(effect);
                let back = reply
                    .as_ref()
                    .map(|reply| words::outcome(effect, reply))
                    .unwrap_or_default();
                let ink = if back.starts_with('✗') { Ink::Red } else { Ink::Plain };
                if !back.is_empty() {
                    text.push('\n');
                    text.push_str(&back);
                }
                Cell::of(Some(*pid), text, ink)
            }
            Event::Received { pid, reply } => {
                let text = words::reply(reply);
                let ink = if text.starts_with('✗') { Ink::Red } else { Ink::Green };
                Cell::of(Some(*pid), text, ink)
            }
            Event::Blocked { pid, by } => {
                let by: Vec<String> = by.iter().map(called).collect();
                let text = match by.as_slice() {
                    [] => "waits".to_owned(),
                    by => format!("waits for {}", by.join(", ")),
                };
                Cell::of(Some(*pid), text, Ink::Yellow)
            }
            Event::Stopped { pid, done, .. } => {
                let text = format!("… {}", database.tell(done));
                Cell::of(Some(*pid), text, Ink::Yellow)
            }
            Event::WentOn { .. } => continue,
            Event::Woken { pid, reply } => {
                let text = format!("goes on {}", words::reply(reply));
                let ink = if text.contains('✗') { Ink::Red } else { Ink::Yellow };
                Cell::of(Some(*pid), text, ink)
            }
            Event::Notice { pid, text } => Cell::of(Some(*pid), format!("notice: {text}"), Ink::Dim),
            Event::Faulted { pid, fault } => Cell::of(Some(*pid), format!("✗ {}", fault.sentence()), Ink::Red),
            Event::Dropped { pid, response } => {
                let text = match response {
                    Ok(response) => format!("({} comes, nobody waits for it)", words::answer(response)),
                    Err(error) => format!("({error}, nobody waits)"),
                };
                Cell::of(Some(*pid), text, Ink::Dim)
            }
            Event::Refused { pid, reason } => Cell::of(Some(*pid), format!("refused: {reason}"), Ink::Red),
            Event::Clock { now: later } => {
                let text = format!("the clock moves on by {}", words::span(later.saturating_sub(*now)));
                *now = *later;
                Cell::of(None, text, Ink::Dim)
            }
            Event::Started { .. } | Event::Ended { .. } => continue,
        };
        merge(&mut cells, cell);
    }
    if let Some(cell) = cells.first_mut()
        && !step.branch.is_empty()
    {
        cell.text.push_str("\n(the server lets another one go first)");
    }
    cells
}

/// What follows for the same process goes into the same cell.
fn merge(cells: &mut Vec<Cell>, cell: Cell) {
    match cells.last_mut() {
        Some(last) if last.pid == cell.pid => {
            last.text.push('\n');
            last.text.push_str(&cell.text);
            if cell.ink != Ink::Plain {
                last.ink = cell.ink;
            }
        }
        _ => cells.push(cell),
    }
}

/// Where each lane begins and how wide its cells are.
struct Columns {
    names: BTreeMap<Pid, Arc<str>>,
    starts: BTreeMap<Pid, (usize, usize)>,
    width: usize,
}

impl Columns {
    fn new(width: usize, names: BTreeMap<Pid, Arc<str>>) -> Columns {
        let count = names.len().max(1);
        let even = width / count;
        let starts = names.keys().enumerate().map(|(place, pid)| {
            let lane = if even >= NARROWEST {
                (place * even, even.saturating_sub(2))
            } else {
                let last = width.saturating_sub(NARROWEST * 2);
                let start = place * last / (count - 1).max(1);
                (start, (width - start).min(NARROWEST * 3).saturating_sub(2))
            };
            (*pid, lane)
        });
        Columns {
            starts: starts.collect(),
            names,
            width,
        }
    }

    /// The names above their lanes; where they don't fit side by side, one below the other, each at its lane.
    fn header(&self, paint: Paint) -> Vec<String> {
        let fits = self
            .starts
            .values()
            .zip(self.starts.values().skip(1))
            .zip(self.names.values())
            .all(|(((start, _), (next, _)), name)| name.chars().count() < next - start);
        let mut lines: Vec<Vec<char>> = Vec::new();
        for (pid, name) in &self.names {
            let (start, _) = self.starts[pid];
            if lines.is_empty() || !fits {
                lines.push(self.bars(Some(*pid), !lines.is_empty()));
            }
            if let Some(line) = lines.last_mut() {
                put(line, start, name);
            }
        }
        let margin = " ".repeat(MARGIN);
        lines
            .into_iter()
            .map(|line| format!("{margin}{}", paint.ink(Ink::Bold, text(&line).trim_end())))
            .collect()
    }

    /// A line with the bars of all lanes; for the header, only of those before `until`.
    fn bars(&self, until: Option<Pid>, drawn: bool) -> Vec<char> {
        let mut line = vec![' '; self.width];
        for (pid, (start, _)) in &self.starts {
            let wanted = until.is_none_or(|until| drawn && *pid < until);
            if wanted && let Some(place) = line.get_mut(*start) {
                *place = '│';
            }
        }
        line
    }

    fn row(&self, number: Option<(usize, bool)>, cell: &Cell, paint: Paint, lines: &mut Vec<String>) {
        let (start, width) = cell
            .pid
            .and_then(|pid| self.starts.get(&pid).copied())
            .unwrap_or((0, self.width.saturating_sub(2)));
        for (index, piece) in wrap(&cell.text, width).into_iter().enumerate() {
            let margin = match number {
                Some((number, true)) if index == 0 => paint.ink(Ink::Red, &format!("▶{number:>3}  ")),
                Some((number, false)) if index == 0 => paint.ink(Ink::Dim, &format!(" {number:>3}  ")),
                _ => " ".repeat(MARGIN),
            };
            let bars = self.bars(None, true);
            let left = text(&bars[..start.min(bars.len())]);
            let end = (start + piece.chars().count()).min(bars.len());
            let mut right = bars[end..].to_vec();
            // A bar that touches the text would read as part of it.
            if let Some(first) = right.first_mut() {
                *first = ' ';
            }
            let line = format!(
                "{margin}{}{}{}",
                paint.ink(Ink::Dim, &left),
                paint.ink(cell.ink, &piece),
                paint.ink(Ink::Dim, text(&right).trim_end())
            );
            lines.push(line.trim_end().to_owned());
        }
    }
}

fn put(line: &mut [char], start: usize, name: &str) {
    for (place, letter) in line.iter_mut().skip(start).zip(name.chars()) {
        *place = letter;
    }
}

fn text(line: &[char]) -> String {
    line.iter().collect()
}

/// Breaks a text into lines of at most `width` characters, between words where it can; lines after the first of a paragraph are indented.
fn wrap(paragraphs: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    for paragraph in paragraphs.lines() {
        let mut line = String::new();
        let mut filled = 0;
        for word in paragraph.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            if filled > 0 && filled + 1 + word.len() > width {
                lines.push(std::mem::replace(&mut line, "  ".to_owned()));
                filled = 2;
            } else if filled > 0 {
                line.push(' ');
                filled += 1;
            }
            while filled + word.len() > width {
                let rest = word.split_off(width - filled);
                line.extend(word);
                lines.push(std::mem::replace(&mut line, "  ".to_owned()));
                filled = 2;
                word = rest;
            }
            filled += word.len();
            line.extend(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn words_are_kept_whole_unless_one_is_wider_than_the_lane() {
        assert_eq!(wrap("insert into customers", 12), ["insert into", "  customers"]);
        assert_eq!(wrap("abcdefghijklmnop", 8), ["abcdefgh", "  ijklmn", "  op"]);
        assert_eq!(wrap("a\nb", 8), ["a", "b"]);
        assert_eq!(wrap("", 8), Vec::<String>::new());
    }
}
