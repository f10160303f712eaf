//! Scenarios to start from: what `deadheat new` writes.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::domain::Handler;

/// A script: two requests that read a balance, and write what is left of it.
pub const SCRIPT: &str = r#"title = "Two withdrawals from one account"
source = ""
story = """
Each request reads the balance and writes what is left of it. When both read before either writes, one withdrawal is lost."""
drivers = ["explore", "shuttle", "postgres"]

[world]
schema = '''
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
'''
seed = '''
INSERT INTO accounts VALUES (1, 100);
'''

[[process]]
name = "withdrawal"
count = 2
params = { amount = 60 }
steps = '''
begin;
account := select balance from accounts where id = 1;
update accounts set balance = :account.balance - :amount where id = 1;
commit;
'''

[[invariant]]
name = "no-withdrawal-is-lost"
promise = "two withdrawals of 60 leave the account at -20"
when = "finally"
query = "SELECT * FROM accounts WHERE balance <> -20"

[expect]
violates = ["no-withdrawal-is-lost"]

# The same with a lock: the second request waits until the first has committed.
[[variant]]
name = "locked"

[[variant.process]]
name = "withdrawal"
steps = '''
begin;
account := select balance from accounts where id = 1 for update;
update accounts set balance = :account.balance - :amount where id = 1;
commit;
'''

[variant.expect]
holds = ["no-withdrawal-is-lost"]
"#;

/// A scenario of the first of the handlers, its design written out with every choice and what it means.
pub fn domain(handlers: &[Arc<dyn Handler>]) -> String {
    let mut text = String::from("title = \"\"\nsource = \"\"\nstory = \"\"\n");
    // Writing to a String can't fail.
    let names: Vec<&str> = handlers.iter().map(|handler| handler.name()).collect();
    let _ = writeln!(text, "\n[domain]\n# one of: {}", names.join(", "));
    let Some(handler) = handlers
        .iter()
        .find(|handler| handler.name() == FIRST)
        .or(handlers.first())
    else {
        return text;
    };
    let _ = writeln!(text, "handler = \"{}\"\n\n[domain.design]", handler.name());
    for choice in handler.choices() {
        let _ = writeln!(text, "# {}", choice.doc);
        for option in choice.options {
            let _ = writeln!(text, "#   {}: {}", option.name, option.doc);
        }
        if let Some(option) = choice.options.first() {
            let _ = writeln!(text, "{} = \"{}\"", choice.name, option.name);
        }
    }
    text.push_str("\n[[clients]]\ncount = 2\n");
    for parameter in handler.clients() {
        let _ = writeln!(text, "# {}: {}", parameter.name, parameter.doc);
    }
    text.push_str("\n[faults]\ntimeouts = 1\n\n[expect]\nholds = [");
    let held: Vec<String> = handler
        .invariants()
        .iter()
        .map(|promise| format!("\n  \"{}\", # {}", promise.name, promise.promise))
        .collect();
    let _ = writeln!(text, "{}\n]", held.concat());
    text
}

/// The handler that a new scenario starts from, where there is one of that name.
const FIRST: &str = "registration";
