//! What the explorers are compared on: our own machines with their SQL, as scenarios in a few lines.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use deadheat::document::Source;
use deadheat::explore::survey;
use deadheat::scenario::Library;
use deadheat::system::{Breach, Invariant, Spec, System, View, When};

/// A family of systems of growing size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// n requests register one customer under one key, each sent once; nothing fails.
    Registration,
    /// n tabs pay for one order, and its webhooks are delivered twice; nothing fails.
    Payment,
    /// n clients register one customer, each again when it gives up waiting, which one of them may do.
    Clients,
    /// As [`Family::Payment`], and one process crashes anywhere.
    Attempts,
}

/// One system, by its name: `R3`, `P2`, `C5`, `A3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) family: Family,
    pub(crate) size: usize,
}

impl Family {
    const ALL: [(Family, char); 4] = [
        (Family::Registration, 'R'),
        (Family::Payment, 'P'),
        (Family::Clients, 'C'),
        (Family::Attempts, 'A'),
    ];
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = Family::ALL.iter().find(|(family, _)| *family == self.family);
        write!(f, "{}{}", letter.map_or('?', |(_, letter)| *letter), self.size)
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Name, ()> {
        let (family, _) = Family::ALL
            .into_iter()
            .find(|(_, letter)| text.starts_with(*letter))
            .ok_or(())?;
        let size = text.get(1..).and_then(|size| size.parse().ok()).ok_or(())?;
        Ok(Name { family, size })
    }
}

/// The hardened design, or one with the bug that its family is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Design {
    Hardened,
    Broken,
}

/// Builds a system.
pub(crate) fn system(name: Name, design: Design) -> System {
    let text = text(name, design);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/bench.toml");
    let source = Source::new("bench.toml", text);
    let read = Library::default().read("bench", &path, source);
    let scenario = read.ok().and_then(|scenarios| scenarios.into_iter().next());
    let system = scenario.expect("the scenarios of this bench are right").system;
    // Every peer stops statements where somebody could notice.
    survey(&system, u64::MAX, None)
}

fn text(name: Name, design: Design) -> String {
    let Name { family, size } = name;
    let (head, broken, client, faults) = match family {
        Family::Registration => (
            "handler = \"registration\"\n",
            LOOK_THEN_INSERT,
            "[[clients]]\ncustomer = \"CUST_1\"\nkey = \"key-1\"\nattempts = 1\n",
            "",
        ),
        Family::Clients => (
            "handler = \"registration\"\n",
            LOOK_THEN_INSERT,
            "[[clients]]\ncustomer = \"CUST_1\"\nkey = \"key-1\"\nattempts = 2\n",
            "[faults]\ntimeouts = 1\n",
        ),
        Family::Payment => (PAYMENT, CHECK_THEN_UPDATE, TAB, ""),
        Family::Attempts => (PAYMENT, CHECK_THEN_UPDATE, TAB, "[faults]\ncrashes = 1\n"),
    };
    let design = if design == Design::Broken { broken } else { "" };
    let clients: String = (0..size)
        .map(|number| {
            format!(
                "{}client = \"c{number}\"\n",
                client.replace("METHOD", &format!("pm_{number}"))
            )
        })
        .collect();
    format!("title = \"bench\"\n\n[domain]\n{head}\n{design}\n{clients}\n{faults}")
}

const LOOK_THEN_INSERT: &str = "[domain.design]
idempotency_key = \"ignored\"
duplicate_check = \"select_then_insert\"
unique_index = \"off\"
";

const PAYMENT: &str = "handler = \"payment\"
deliveries = 2
delivery_attempts = 1
queue_attempts = 1
";

const CHECK_THEN_UPDATE: &str = "[domain.design]
admission = \"check_then_update\"
provider_key = \"per_attempt\"
on_unknown = \"marked_failed\"
intent_stored = \"if_still_processing\"
";

const TAB: &str = "[[clients]]\nmethod = \"METHOD\"\nattempts = 1\n";

/// The same system, and whoever breaks an invariant in it first ends the process after calling `tell` with the time since `started`. So the time to
/// the first bug is measured in one way, whatever an explorer does when it meets one.
pub(crate) fn with_tripwires(system: &System, started: Instant, tell: fn(f64)) -> System {
    let spec = system.spec();
    let invariants = spec.invariants.iter().map(|inner| {
        let inner = inner.clone();
        Arc::new(Tripwire { inner, started, tell }) as Arc<dyn Invariant>
    });
    let points = system.points().clone();
    let guarded = System::new(Spec {
        invariants: invariants.collect(),
        ..spec.clone()
    });
    guarded.with_points(points)
}

#[derive(Debug)]
struct Tripwire {
    inner: Arc<dyn Invariant>,
    started: Instant,
    tell: fn(f64),
}

impl Invariant for Tripwire {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn promise(&self) -> &str {
        self.inner.promise()
    }

    fn when(&self) -> When {
        self.inner.when()
    }

    fn tells_apart(&self, label: &str) -> bool {
        self.inner.tells_apart(label)
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let checked = self.inner.check(view);
        if checked.is_err() {
            (self.tell)(self.started.elapsed().as_secs_f64());
            std::process::exit(0);
        }
        checked
    }
}
