//! Our explorer beside its peers, over the same systems, SQL included: `cargo bench --bench peers [-- NAME...]`.
//!
//! Each explorer explores each system in a process of its own, so that its peak memory is its own and it can be ended when it takes too long. Prints a
//! table, and below it plain lines: `ratio PEER METRIC SYSTEM VALUE`, where more than 1 means that we are better; an
//! explorer that did not come to its end gives a bound, and the metric says `_at_least`. `classes` lines compare the runs that the enumeration
//! of schedule classes makes with the classes that there are.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table is what it is for")]

#[path = "peers/explorers.rs"]
mod explorers;
#[path = "peers/model.rs"]
mod model;
#[path = "peers/systems.rs"]
mod systems;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use deadheat::explore::classes;
use explorers::Explorer;
use systems::{Design, Family, Name};

/// No explorer gets more time than this for one system.
const PATIENCE: Duration = Duration::from_secs(30);

/// No more classes than this are enumerated for one system.
const MOST_CLASSES: usize = 60_000;

/// The argument that makes the process explore one system and end.
const CHILD: &str = "--child";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == CHILD) {
        return child(&arguments[place + 1..]);
    }
    let asked: Vec<Name> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let usual = [(Family::Registration, 2..=5), (Family::Payment, 2..=3)];
    let usual = usual
        .into_iter()
        .flat_map(|(family, sizes)| sizes.map(move |size| Name { family, size }));
    let names: Vec<Name> = if asked.is_empty() { usual.collect() } else { asked };
    let mut bench = Bench::default();
    println!(
        "{:<7} {:<20} {:<8} {:>10} {:>12} {:>9} {:>11} {:>9}",
        "system", "explorer", "until", "count", "transitions", "seconds", "count/s", "peak MiB"
    );
    for name in names {
        bench.system(name);
    }
    println!();
    for line in &bench.lines {
        println!("{line}");
    }
}

/// What was measured so far.
#[derive(Default)]
struct Bench {
    lines: Vec<String>,
    /// The smallest size of each family that an explorer could not finish: larger ones are not tried.
    given_up: BTreeMap<(&'static str, &'static str, char), Name>,
    /// What each explorer took for the last size of a family, to see how that grows.
    before: BTreeMap<(&'static str, char), Run>,
}

/// One run of one explorer.
#[derive(Clone, Copy, Debug)]
struct Run {
    count: u64,
    seconds: f64,
    kibibytes: u64,
    whole: bool,
}

impl Run {
    fn rate(&self) -> f64 {
        self.count as f64 / self.seconds.max(1e-9)
    }
}

impl Bench {
    fn system(&mut self, name: Name) {
        let mut runs: Vec<(Explorer, Option<Run>, Option<Run>)> = Vec::new();
        for explorer in Explorer::ALL {
            let whole = self.measure(name, explorer, "end");
            let bug = self.measure(name, explorer, "bug");
            runs.push((explorer, whole, bug));
        }
        self.compare(name, &runs);
        self.classes(name);
    }

    fn measure(&mut self, name: Name, explorer: Explorer, until: &'static str) -> Option<Run> {
        let letter = name.to_string().chars().next().unwrap_or('?');
        let key = (explorer.name(), until, letter);
        let head = format!("{name:<7} {:<20} {until:<8}", explorer.name(), name = name.to_string());
        if let Some(smaller) = self.given_up.get(&key) {
            println!("{head} not tried: {smaller} was not finished");
            return None;
        }
        let (run, transitions) = match run(name, explorer, until) {
            Ok(measured) => measured,
            Err(reason) => {
                println!("{head} {reason}");
                self.given_up.insert(key, name);
                return None;
            }
        };
        let counted = if run.count > 0 {
            format!(
                "{:>10} {transitions:>12} {:>9.4} {:>11.0}",
                run.count,
                run.seconds,
                run.rate()
            )
        } else {
            format!("{:>10} {:>12} {:>9.4} {:>11}", "-", "-", run.seconds, "-")
        };
        let note = if run.whole { "" } else { "  not finished" };
        println!("{head} {counted} {:>9.1}{note}", run.kibibytes as f64 / 1024.0);
        if !run.whole {
            self.given_up.insert(key, name);
        }
        if until == "end"
            && run.whole
            && let Some(before) = self.before.insert((explorer.name(), letter), run)
        {
            let growth = run.seconds / before.seconds.max(1e-9);
            self.lines
                .push(format!("growth {} seconds {name} {growth:.1}", explorer.name()));
        }
        Some(run)
    }

    fn compare(&mut self, name: Name, runs: &[(Explorer, Option<Run>, Option<Run>)]) {
        let find = |wanted: Explorer| runs.iter().find(|(explorer, _, _)| *explorer == wanted);
        let Some((_, plain, plain_bug)) = find(Explorer::Plain) else {
            return;
        };
        let Some((_, ours, bug)) = find(Explorer::Ours) else {
            return;
        };
        let bug = bug.or(*plain_bug);
        for (explorer, peer, peer_bug) in runs {
            if matches!(explorer, Explorer::Plain | Explorer::Ours) {
                continue;
            }
            if let (Some(plain), Some(peer)) = (plain, peer)
                && matches!(explorer, Explorer::Stateright | Explorer::BruteForce)
            {
                self.ratio(*explorer, "states_per_s", name, plain.rate() / peer.rate());
                if plain.whole && peer.whole && plain.count != peer.count {
                    eprintln!(
                        "{name}: {} has {} states, we have {}",
                        explorer.name(),
                        peer.count,
                        plain.count
                    );
                }
            }
            self.times(*explorer, "seconds_to_end", name, *ours, *peer);
            self.times(*explorer, "seconds_to_bug", name, bug, *peer_bug);
            if let (Some(ours), Some(peer)) = (ours, peer)
                && ours.whole
                && ours.kibibytes > 0
            {
                let bounded = if peer.whole {
                    "peak_memory"
                } else {
                    "peak_memory_at_least"
                };
                self.ratio(*explorer, bounded, name, peer.kibibytes as f64 / ours.kibibytes as f64);
            }
        }
    }

    /// A ratio of times; a bound where the peer was ended, and nothing where we were.
    fn times(&mut self, peer: Explorer, metric: &str, name: Name, ours: Option<Run>, theirs: Option<Run>) {
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return;
        };
        if ours.whole {
            let metric = if theirs.whole {
                metric.to_owned()
            } else {
                format!("{metric}_at_least")
            };
            self.ratio(peer, &metric, name, theirs.seconds / ours.seconds.max(1e-9));
        }
    }

    fn ratio(&mut self, peer: Explorer, metric: &str, name: Name, value: f64) {
        self.lines
            .push(format!("ratio {} {metric} {name} {value:.2}", peer.name()));
    }

    fn classes(&mut self, name: Name) {
        let started = Instant::now();
        let found = classes(&systems::system(name, Design::Hardened), MOST_CLASSES);
        let (count, executions, redundant) = (found.schedules.len() as u64, found.executions, found.redundant);
        let made = executions.max(count + redundant);
        let note = if found.complete { "" } else { " not_all" };
        self.lines.push(format!(
            "classes {name} {count} executions {made} redundant {redundant} executions_over_classes {:.3} seconds {:.2}{note}",
            made as f64 / (count.max(1)) as f64,
            started.elapsed().as_secs_f64()
        ));
    }
}

/// Runs one explorer in a process of its own, which is ended when it takes too long.
fn run(name: Name, explorer: Explorer, until: &str) -> Result<(Run, u64), String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args([CHILD, explorer.name(), &name.to_string(), until])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    // What an explorer needs to notice that its time is up and to tell what it has.
    let grace = Duration::from_secs(5);
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if started.elapsed() < PATIENCE + grace => thread::sleep(Duration::from_millis(2)),
            Ok(None) => break None,
            Err(error) => return Err(error.to_string()),
        }
    };
    let Some(status) = ended else {
        let kibibytes = peak(&child.id().to_string());
        stop(&mut child);
        let seconds = started.elapsed().as_secs_f64();
        let run = Run {
            count: 0,
            seconds,
            kibibytes,
            whole: false,
        };
        return Ok((run, 0));
    };
    let mut told = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut told).map_err(|error| error.to_string())?;
    }
    let last = told.lines().last().unwrap_or_default();
    let mut words = last.split(' ');
    let mut next = || {
        words
            .next()
            .ok_or_else(|| format!("ended with {status} and told `{last}`"))
    };
    let mut number = || next()?.parse::<f64>().map_err(|error| error.to_string());
    let (count, transitions, seconds) = (number()? as u64, number()? as u64, number()?);
    let (kibibytes, whole) = (number()? as u64, number()? > 0.0);
    let run = Run {
        count,
        seconds,
        kibibytes,
        whole,
    };
    Ok((run, transitions))
}

fn stop(child: &mut Child) {
    // It may have ended in the meantime.
    let _ = child.kill();
    let _ = child.wait();
}

/// Explores one system and prints: count, transitions, seconds, peak memory in KiB, whether it came to its end.
fn child(arguments: &[String]) {
    let [explorer, name, until, ..] = arguments else { return };
    let explorer = Explorer::ALL.into_iter().find(|known| known.name() == explorer);
    let (Some(explorer), Ok(name)) = (explorer, name.parse::<Name>()) else {
        return;
    };
    let started = Instant::now();
    if until == "bug" {
        let system = systems::system(name, Design::Broken);
        let started = Instant::now();
        explorer.run(&systems::with_tripwires(&system, started, tell_bug), PATIENCE);
        println!("0 0 {} {} 0", started.elapsed().as_secs_f64(), peak("self"));
        return;
    }
    let system = systems::system(name, Design::Hardened);
    let built = started.elapsed();
    let took = explorer.run(&system, PATIENCE);
    let seconds = (started.elapsed() - built).as_secs_f64();
    println!(
        "{} {} {seconds} {} {}",
        took.count,
        took.transitions,
        peak("self"),
        u8::from(took.whole)
    );
}

fn tell_bug(seconds: f64) {
    println!("0 0 {seconds} {} 1", peak("self"));
}

/// The most memory that a process has had, in KiB; 0 where the system does not say.
fn peak(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
