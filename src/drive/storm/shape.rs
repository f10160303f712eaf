//! What a storm is: how many clients, their patience, how long things take, what strikes.

use std::fmt;
use std::str::FromStr;

use proptest::collection::vec;
use proptest::strategy::{Just, Strategy};

use super::StormOptions;

/// A storm. Times are in microseconds; lists are used in turn and from the start again, and an empty one means 0 throughout.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Storm {
    /// How many clients there are.
    pub clients: u8,
    /// When each client starts.
    pub arrivals: Vec<i64>,
    /// How long each client waits for a response before it gives up, if the system lets it.
    pub timeouts: Vec<i64>,
    /// How long each client waits after that before it goes on.
    pub backoffs: Vec<i64>,
    /// How long steps take.
    pub latencies: Vec<i64>,
    /// Faults.
    pub strikes: Vec<Strike>,
}

/// A fault of a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Strike {
    /// After how many steps of the whole run it strikes, at the earliest.
    pub after: u16,
    /// Which of the faults that are possible then, counted from 0 and from the start again.
    pub which: u8,
}

impl Storm {
    /// A storm of so many clients in which nothing takes time and nothing strikes.
    pub fn calm(clients: u8) -> Self {
        Storm {
            clients,
            arrivals: Vec::new(),
            timeouts: Vec::new(),
            backoffs: Vec::new(),
            latencies: Vec::new(),
            strikes: Vec::new(),
        }
    }
}

/// Entry `place` of a list that starts again at its end.
pub(super) fn of(list: &[i64], place: usize) -> i64 {
    match list.len() {
        0 => 0,
        length => list[place % length],
    }
}

/// All storms within the options, small ones first when shrunk: fewer clients, then fewer strikes, then shorter times.
pub(super) fn storms(options: &StormOptions) -> impl Strategy<Value = Storm> + use<> {
    let strikes = options.max_strikes;
    (1..=options.max_clients.max(1)).prop_flat_map(move |clients| {
        let each = usize::from(clients);
        let strike = (0..200_u16, 0..16_u8).prop_map(|(after, which)| Strike { after, which });
        (
            Just(clients),
            vec(strike, 0..=strikes),
            vec(0..20_000_i64, each),
            vec(1_000..60_000_i64, each),
            vec(0..20_000_i64, each),
            vec(1..10_000_i64, 1..=16),
        )
            .prop_map(|(clients, strikes, arrivals, timeouts, backoffs, latencies)| Storm {
                clients,
                arrivals,
                timeouts,
                backoffs,
                latencies,
                strikes,
            })
    })
}

/// Why a text is not a storm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStorm {
    /// A part has no value.
    #[error("`{part}` is not of the form name=value")]
    Part {
        /// The part.
        part: String,
    },
    /// A part with an unknown name.
    #[error("`{name}` is no part of a storm")]
    Name {
        /// The name.
        name: String,
    },
    /// A value that can't be read.
    #[error("`{value}` is not a value of `{name}`")]
    Value {
        /// The part's name.
        name: String,
        /// Its value.
        value: String,
    },
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clients={}", self.clients)?;
        let lists = [
            ("arrivals", &self.arrivals),
            ("timeouts", &self.timeouts),
            ("backoffs", &self.backoffs),
            ("latencies", &self.latencies),
        ];
        for (name, list) in lists {
            let list: Vec<String> = list.iter().map(i64::to_string).collect();
            write!(f, " {name}={}", list.join(","))?;
        }
        let strikes = self
            .strikes
            .iter()
            .map(|strike| format!("{}:{}", strike.after, strike.which));
        write!(f, " strikes={}", strikes.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Storm {
    type Err = BadStorm;

    fn from_str(text: &str) -> Result<Self, BadStorm> {
        let mut storm = Storm::calm(1);
        for part in text.split_whitespace() {
            let Some((name, value)) = part.split_once('=') else {
                return Err(BadStorm::Part { part: part.to_owned() });
            };
            let bad = || BadStorm::Value {
                name: name.to_owned(),
                value: value.to_owned(),
            };
            match name {
                "clients" => storm.clients = value.parse().ok().filter(|count| *count > 0).ok_or_else(bad)?,
                "arrivals" => storm.arrivals = numbers(value).ok_or_else(bad)?,
                "timeouts" => storm.timeouts = numbers(value).ok_or_else(bad)?,
                "backoffs" => storm.backoffs = numbers(value).ok_or_else(bad)?,
                "latencies" => storm.latencies = numbers(value).ok_or_else(bad)?,
                "strikes" => storm.strikes = strikes(value).ok_or_else(bad)?,
                _ => return Err(BadStorm::Name { name: name.to_owned() }),
            }
        }
        Ok(storm)
    }
}

fn numbers(text: &str) -> Option<Vec<i64>> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| part.parse().ok().filter(|number| *number >= 0))
        .collect()
}

fn strikes(text: &str) -> Option<Vec<Strike>> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (after, which) = part.split_once(':')?;
            Some(Strike {
                after: after.parse().ok()?,
                which: which.parse().ok()?,
            })
        })
        .collect()
}
