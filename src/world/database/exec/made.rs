//! Values that a server makes up: random UUIDs and numbers, the numbers of transactions and of connections.
//!
//! No two are equal, and none comes from chance: a random value is named after who draws it and how often that session has drawn, so that it does not
//! depend on the order in which several draw. The conductor has the real server draw the same ones, and takes what the server numbers by
//! itself for the model's numbers by where each comes up first.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::world::database::sql::md5;
use crate::world::database::store::SessionId;

use super::facade::SCRIPT;

/// Numbers of transactions start here, so that they are told apart from what else is in a row.
const TRANSACTIONS: i64 = 1_000_000_000;
/// Numbers of connections.
const CONNECTIONS: i64 = 1_500_000_000;
/// How many of the latter there are.
const MOST: i64 = 500_000_000;

/// What was made up so far. Numbers are given in the order in which they are asked for, as the server does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Made {
    /// How often each session drew.
    drawn: BTreeMap<SessionId, u64>,
    /// How many transactions asked for their number.
    transactions: i64,
    /// A session asked for its number.
    connections: bool,
}

impl Made {
    /// Draws for a session.
    pub(crate) fn draw(&mut self, session: SessionId) -> String {
        let count = self.drawn.entry(session).or_default();
        *count += 1;
        digits(&owner(session), *count)
    }

    /// The number of a transaction that has none yet.
    pub(crate) fn transaction(&mut self) -> i64 {
        self.transactions += 1;
        TRANSACTIONS + self.transactions
    }

    /// The number of a connection.
    pub(crate) fn connection(&mut self, session: SessionId) -> i64 {
        self.connections = true;
        let path = session.path();
        CONNECTIONS + path.fold(0, |number, part| number * 255 + i64::from(part) + 1) % MOST
    }

    /// Whether something may be anywhere by now that has a session's name in it.
    pub(crate) fn told_names(&self) -> bool {
        self.connections || self.drawn.keys().any(|session| *session != SCRIPT)
    }

    /// Whether a text is one of these values.
    pub(crate) fn knows(&self, text: &str) -> bool {
        if let Ok(number) = text.parse::<i64>() {
            let transactions = TRANSACTIONS..=TRANSACTIONS + self.transactions;
            let connections = CONNECTIONS..CONNECTIONS + MOST;
            return transactions.contains(&number) || self.connections && connections.contains(&number);
        }
        let mut draws = self
            .drawn
            .iter()
            .flat_map(|(session, most)| (1..=*most).map(|count| digits(&owner(*session), count)));
        draws.any(|draw| uuid(&draw).to_string() == text || fraction(&draw).to_string() == text)
    }
}

/// A session's name in what it draws: the numbers of its path.
pub(crate) fn owner(session: SessionId) -> String {
    let parts: Vec<String> = session.path().map(|part| part.to_string()).collect();
    parts.join(".")
}

fn digits(owner: &str, count: u64) -> String {
    md5::hex(format!("deadheat {owner} {count}").as_bytes())
}

/// A version 4 UUID of 32 hexadecimal digits.
pub(crate) fn uuid(digits: &str) -> Uuid {
    let bits = u128::from_str_radix(digits, 16).unwrap_or_default();
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    Uuid::from_u128(bits & !(0xf << 60) | (0x8 << 60))
}

/// A number from 0 to 1 of the first 13 of 32 hexadecimal digits: as many bits as a double has.
pub(crate) fn fraction(digits: &str) -> f64 {
    let bits = digits.get(..13).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    bits.unwrap_or_default() as f64 / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::{Made, fraction, owner, uuid};
    use crate::machine::Pid;

    #[test]
    fn what_is_drawn_is_fresh_and_does_not_depend_on_the_order() {
        let (mut one, mut other) = (Made::default(), Made::default());
        let (a, b) = (Pid::root(0), Pid::root(1));
        let forth = (one.draw(a), one.draw(b), one.draw(a));
        let back = (other.draw(b), other.draw(a), other.draw(a));
        assert_eq!((&forth.0, &forth.1, &forth.2), (&back.1, &back.0, &back.2));
        assert_ne!(forth.0, forth.1);
        assert_ne!(forth.0, forth.2);
        assert!(one.knows(&uuid(&forth.2).to_string()));
        assert!(!one.knows("00000000-0000-4000-8000-000000000001"));
        assert!(!one.knows("701"));
        assert_eq!(one.transaction(), 1_000_000_001);
        assert!(one.knows("1000000001") && !one.knows("1000000002"));
        assert!((0.0..1.0).contains(&fraction(&forth.0)));
        assert_eq!(uuid(&forth.0).get_version_num(), 4);
        assert_eq!(owner(Pid::root(0).child(2).expect("a child")), "0.2");
    }
}
