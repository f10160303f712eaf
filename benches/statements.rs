//! Statements per second of the database model, one thread: `cargo bench --bench statements [-- NAME...]`.
//!
//! Each line is one kind of statement, sent again and again to one database: as the explorer does it (the plan of a text is made once), by a
//! session of its own, outside of a transaction. `ratio NAME VALUE` compares with the plainest one, `point_select`, in the same run: more than 1
//! is slower. Rates differ from machine to machine; ratios should not.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::env;
use std::time::{Duration, Instant};

use deadheat::machine::{Pid, Sql, Usual};
use deadheat::world::database::{Database, DbEvent};

/// How long each kind of statement is measured.
const SPAN: Duration = Duration::from_millis(1_500);

/// Rows of each table, about what a scenario has.
const SCHEMA: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, email text UNIQUE, name text);
    CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint REFERENCES customers, amount numeric, status text);
    INSERT INTO customers SELECT n, 'c' || n || '@example.com', 'name' FROM generate_series(1, 8) AS n;
    INSERT INTO orders SELECT n, n, 10.50, 'open' FROM generate_series(1, 8) AS n;";

/// What is measured: a name, and the messages that are sent in turn. Each round leaves the database as it was.
const KINDS: &[(&str, &[&str])] = &[
    ("point_select", &["SELECT name FROM customers WHERE id = 3"]),
    ("scan", &["SELECT count(*) FROM orders WHERE status = 'open'"]),
    (
        "join",
        &["SELECT o.id, c.email FROM orders o JOIN customers c ON c.id = o.customer WHERE o.status = 'open'"],
    ),
    ("update", &["UPDATE orders SET status = 'open' WHERE id = 3"]),
    (
        "upsert",
        &[
            "INSERT INTO customers VALUES (3, 'c3@example.com', 'name') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        ],
    ),
    (
        "insert_delete",
        &[
            "INSERT INTO orders VALUES (99, 1, 1, 'open')",
            "DELETE FROM orders WHERE id = 99",
        ],
    ),
    (
        "transaction",
        &[
            "BEGIN",
            "SELECT status FROM orders WHERE id = 3 FOR UPDATE",
            "UPDATE orders SET status = 'open' WHERE id = 3",
            "COMMIT",
        ],
    ),
    (
        "serializable",
        &[
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
            "SELECT status FROM orders WHERE id = 3",
            "UPDATE orders SET status = 'open' WHERE id = 4",
            "COMMIT",
        ],
    ),
    (
        "foreign_key",
        &["BEGIN", "INSERT INTO orders VALUES (98, 5, 1, 'open')", "ROLLBACK"],
    ),
];

fn main() {
    let asked: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    println!("{:<16} {:>14} {:>12}", "statements", "statements/s", "ns each");
    let mut rates: Vec<(&str, f64)> = Vec::new();
    for (name, messages) in KINDS {
        let is_asked = asked.is_empty() || asked.iter().any(|word| name.contains(word.as_str()));
        if !is_asked && *name != KINDS[0].0 {
            continue;
        }
        let rate = rate(name, messages);
        println!("{name:<16} {rate:>14.0} {:>12.0}", 1e9 / rate);
        rates.push((name, rate));
    }
    println!();
    let plainest = rates.first().map_or(1.0, |(_, rate)| *rate);
    for (name, rate) in rates {
        println!("ratio {name} {:.2}", plainest / rate);
    }
}

/// Statements per second.
fn rate(name: &str, messages: &[&str]) -> f64 {
    let mut database = Database::new();
    database.run_script(SCHEMA).expect("the schema is right");
    let messages: Vec<Sql> = messages.iter().map(|text| Sql::new(*text)).collect();
    let session = Pid::root(0);
    // The first round makes the plans.
    round(&mut database, session, &messages, name);
    let (mut rounds, started) = (0_u64, Instant::now());
    while started.elapsed() < SPAN {
        for _ in 0..16 {
            round(&mut database, session, &messages, name);
        }
        rounds += 16;
    }
    (rounds * messages.len() as u64) as f64 / started.elapsed().as_secs_f64()
}

fn round(database: &mut Database, session: Pid, messages: &[Sql], name: &str) {
    for message in messages {
        let events = database.execute(session, message, 0, &mut Usual);
        let done = matches!(events.last(), Some(DbEvent::Done { result: Ok(_), .. }));
        assert!(done, "{name}: {events:?}");
    }
}
