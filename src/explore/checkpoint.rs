//! Checkpoints: what a long search has reached, to be gone on from later or elsewhere.
//!
//! A checkpoint has no states in it. It knows for each state from which it was first reached and by which step; going on takes those steps again, one
//! for each state, which is a fraction of the work that finding them was. So it stays small (eight bytes a state), does not depend on
//! how states are represented, and a state that is not reached by its step any more shows that the checkpoint is of another system.
//!
//! The file: one line of JSON, then two little-endian numbers of 32 bits for each state, then a digest of both.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::digest::digest;
use super::options::Options;
use crate::system::{Schedule, System};

/// What a search has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub(super) head: Head,
    /// For each state but the first the one it was reached from, and the place of the step in [`Head::steps`].
    pub(super) origins: Vec<(u32, u32)>,
}

/// Everything but the states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// The version of the format.
    pub(super) checkpoint: u32,
    /// The version of this crate: the model may answer otherwise in another one.
    pub(super) deadheat: String,
    /// The scenario's fingerprint.
    pub(super) fingerprint: u32,
    pub(super) reduction: bool,
    pub(super) symmetry: bool,
    pub(super) shard: Option<(u32, u32)>,
    /// Parts of the state that invariants look at.
    pub(super) looked_at: u8,
    /// The level that was split into shards.
    pub(super) split: Option<u64>,
    /// The level that is expanded, and how many of its states were.
    pub(super) depth: u64,
    pub(super) done: u64,
    /// How many states follow, the first one not counted.
    pub(super) states: u64,
    /// Every step, as a schedule.
    pub(super) steps: String,
    pub(super) transitions: u64,
    pub(super) finals: u64,
    /// For each invariant the first state that breaks it.
    pub(super) broken: Vec<Option<u32>>,
    pub(super) outcomes: Vec<Kept>,
    pub(super) refused: Option<(u32, u32)>,
    /// What the machines noted.
    pub(super) passed: Vec<Vec<u64>>,
    pub(super) failed: Vec<Vec<(String, u32)>>,
}

/// Final states that show the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) count: u64,
    pub(super) state: u32,
    /// How its roots are called.
    pub(super) names: Option<Vec<u8>>,
    pub(super) broken: Vec<u16>,
}

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// Why a checkpoint can't be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum BadCheckpoint {
    /// The file can't be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not a checkpoint, or damaged.
    #[error("it is not a whole checkpoint of this program: {0}")]
    Damaged(String),
    /// It was written by another version.
    #[error("it was written by deadheat {0}")]
    Version(String),
    /// It is about something else.
    #[error("it is about another {0}")]
    Other(&'static str),
}

impl Checkpoint {
    /// How many states were reached.
    pub fn states(&self) -> u64 {
        self.head.states + 1
    }

    /// Writes it.
    ///
    /// # Errors
    /// When `to` can't be written.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let head = serde_json::to_string(&self.head).map_err(io::Error::other)?;
        writeln!(to, "{head}")?;
        for (from, step) in &self.origins {
            to.write_all(&from.to_le_bytes())?;
            to.write_all(&step.to_le_bytes())?;
        }
        to.write_all(&digest(&(&head, &self.origins)).to_le_bytes())
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it can't be read, is damaged, or was written by another version.
    pub fn read(from: &mut impl BufRead) -> Result<Checkpoint, BadCheckpoint> {
        let damaged = |reason: &str| BadCheckpoint::Damaged(reason.to_owned());
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        let text = str::from_utf8(&line).map_err(|_| damaged("its first line is not text"))?;
        let text = text
            .strip_suffix('\n')
            .ok_or_else(|| damaged("its first line does not end"))?;
        let head: Head = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
        if head.checkpoint != VERSION || head.deadheat != env!("CARGO_PKG_VERSION") {
            return Err(BadCheckpoint::Version(head.deadheat));
        }
        let mut rest = Vec::new();
        from.read_to_end(&mut rest)?;
        let (pairs, sum) = rest.split_at(rest.len().saturating_sub(16));
        let (pairs, over) = pairs.as_chunks::<8>();
        if pairs.len() as u64 != head.states || !over.is_empty() {
            return Err(damaged("it does not have as many states as it says"));
        }
        let origins: Vec<(u32, u32)> = pairs
            .iter()
            .map(|[a, b, c, d, e, f, g, h]| {
                (
                    u32::from_le_bytes([*a, *b, *c, *d]),
                    u32::from_le_bytes([*e, *f, *g, *h]),
                )
            })
            .collect();
        if digest(&(text, &origins)).to_le_bytes() != sum {
            return Err(damaged("its digest is wrong"));
        }
        Ok(Checkpoint { head, origins })
    }

    /// Whether a search of this system with these options can go on from here.
    ///
    /// # Errors
    /// When it can't, with the reason.
    pub fn fits(&self, system: &System, options: &Options) -> Result<(), BadCheckpoint> {
        let head = &self.head;
        if head.fingerprint != system.spec().fingerprint() || head.broken.len() != system.spec().invariants.len() {
            return Err(BadCheckpoint::Other("scenario, or this one was changed since"));
        }
        if head.shard != options.shard {
            return Err(BadCheckpoint::Other("shard"));
        }
        if head.reduction != options.reduction || head.symmetry && !options.symmetry {
            return Err(BadCheckpoint::Other("way to explore"));
        }
        match head.steps.parse::<Schedule>() {
            Ok(_) => Ok(()),
            Err(error) => Err(BadCheckpoint::Damaged(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::explore::toy::{Op, ToySpec, lost_update};
    use crate::explore::{Evidence, Finding, explore};

    fn larger() -> System {
        let ops = vec![
            Op::Get("a"),
            Op::PutNext("a", 1),
            Op::Get("b"),
            Op::Add("b", 1),
            Op::Sleep(2),
        ];
        let roots = vec![ops.clone(), ops, vec![Op::Get("b"), Op::PutNext("a", 2)]];
        ToySpec {
            roots,
            watched: vec!["a", "b"],
            ..ToySpec::default()
        }
        .system()
    }

    /// Stops after so many states and hands back what was kept, through a file's bytes.
    fn stopped(system: &System, options: &Options, states: u64) -> (Finding, Checkpoint) {
        let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
        let into = kept.clone();
        let keep = move |checkpoint: &Checkpoint| {
            let mut bytes = into.lock().expect("one thread");
            bytes.clear();
            checkpoint.write(&mut *bytes).expect("memory");
        };
        let options = Options {
            max_states: Some(states),
            keep: Some(Arc::new(keep)),
            ..options.clone()
        };
        let finding = explore(system, &options);
        let bytes = kept.lock().expect("one thread");
        let checkpoint = Checkpoint::read(&mut bytes.as_slice()).expect("it was just written");
        (finding, checkpoint)
    }

    #[test]
    fn a_search_that_was_stopped_anywhere_goes_on_as_if_it_had_not_been() {
        for options in [Options::default(), Options::plain()] {
            let system = larger();
            let whole = explore(&system, &options);
            assert_eq!(whole.evidence, Evidence::Exhausted);
            for states in [1, 7, 40, whole.stats.states / 2, whole.stats.states - 1] {
                let (cut, checkpoint) = stopped(&system, &options, states);
                assert!(matches!(cut.evidence, Evidence::Truncated { .. }), "{states}");
                assert!(checkpoint.states() > states);
                checkpoint.fits(&system, &options).expect("it is of this system");
                let resumed = Options {
                    resume: Some(Arc::new(checkpoint)),
                    ..options.clone()
                };
                let mut finding = explore(&system, &resumed);
                finding.stats.seconds = whole.stats.seconds;
                // Who goes on does not know what was touched before, so it says that it stops everywhere.
                (finding.stats.inside, finding.stats.waits) = (whole.stats.inside, whole.stats.waits);
                assert_eq!(finding, whole, "stopped after {states} states");
            }
        }
    }

    #[test]
    fn a_shard_goes_on_as_the_shard_it_was() {
        let system = larger();
        let options = Options {
            shard: Some((2, 3)),
            ..Options::plain()
        };
        let whole = explore(&system, &options);
        let (_, checkpoint) = stopped(&system, &options, whole.stats.states - 3);
        assert!(checkpoint.fits(&system, &Options::plain()).is_err());
        let resumed = Options {
            resume: Some(Arc::new(checkpoint)),
            ..options
        };
        let mut finding = explore(&system, &resumed);
        finding.stats.seconds = whole.stats.seconds;
        assert_eq!(finding, whole);
    }

    #[test]
    fn a_damaged_or_foreign_checkpoint_is_refused() {
        let (system, options) = (larger(), Options::plain());
        let (_, checkpoint) = stopped(&system, &options, 20);
        let mut bytes = Vec::new();
        checkpoint.write(&mut bytes).expect("memory");
        let read = |bytes: &[u8]| Checkpoint::read(&mut &*bytes).map_err(|error| error.to_string());
        let last = bytes.len() - 20;
        for (name, damage) in [
            ("cut", bytes[..last].to_vec()),
            ("empty", Vec::new()),
            ("text", b"{\"checkpoint\": 1}\n".to_vec()),
            ("flipped", {
                let mut flipped = bytes.clone();
                flipped[last] ^= 1;
                flipped
            }),
        ] {
            let error = read(&damage).expect_err(name);
            assert!(error.contains("not a whole checkpoint"), "{name}: {error}");
        }
        let foreign = read(&bytes).expect("whole").fits(&lost_update(2), &options);
        assert!(
            foreign
                .expect_err("another system")
                .to_string()
                .contains("another scenario")
        );
    }
}
