//! A verdict in words: what it is, and what it rests on.

use crate::explore::{Driver, Evidence, Finding, Inside, Verdict, counted};
use crate::suite::Record;

/// `proved: 2 processes, 1 crash, 997,981 states`; `not found in 256 samples`; `not seen in 256 storms: no-duplicate-customers`; `unknown: stopped at
/// 60 s after 3,123,456 states`. Without anything that differs between two runs.
pub fn record(record: &Record) -> String {
    let finding = &record.finding;
    if record.missed.is_empty() {
        return self::finding(finding);
    }
    let missed = record.missed.join(", ");
    let missed = format!("not seen {}: {missed}{}", finding.scope(), left_out(finding));
    match finding.verdict {
        Verdict::Violated => format!("violated: {}; {missed}", finding.violated().join(", ")),
        _ => missed,
    }
}

/// The same of a finding that nobody has judged.
pub fn finding(finding: &Finding) -> String {
    let reason = || finding.reason.as_deref().unwrap_or("no reason was given");
    match finding.verdict {
        Verdict::Held if finding.is_proof() => {
            let bounds = finding.bounds.list().into_iter();
            let proved = proved(bounds, finding.stats.states, finding.stats.schedules);
            match finding.stats.inside {
                Inside::Untold => proved,
                inside if finding.stats.waits => format!("{proved}; {inside}; what had waited went on at once"),
                inside => format!("{proved}; {inside}"),
            }
        }
        Verdict::Held => format!("not found {}{}", scope(finding), left_out(finding)),
        Verdict::Violated => format!("violated: {}{}", finding.violated().join(", "), left_out(finding)),
        Verdict::Unknown | Verdict::Skipped | Verdict::Error => format!("{}: {}", finding.verdict, reason()),
    }
}

/// What holds in every schedule within the bounds, in the words of the bounds.
pub(super) fn proved<'a>(bounds: impl Iterator<Item = (&'a str, u64)>, states: u64, schedules: u64) -> String {
    let mut parts: Vec<String> = bounds.map(|(name, count)| counted(count, &singular(name))).collect();
    for (number, noun) in [(states, "state"), (schedules, "schedule")] {
        if number > 0 {
            parts.push(counted(number, noun));
        }
    }
    format!("proved: {}", parts.join(", "))
}

/// What a table has room for.
pub(super) fn word(record: &Record) -> &'static str {
    match record.finding.verdict {
        Verdict::Held if !record.missed.is_empty() => "not seen",
        Verdict::Held if record.finding.is_proof() => "proved",
        Verdict::Held => "not found",
        verdict => verdict.name(),
    }
}

fn scope(finding: &Finding) -> String {
    match (&finding.evidence, finding.driver) {
        (Evidence::Sampled { runs, miss: None }, driver) if driver != Driver::Postgres => {
            format!("in {}", counted(*runs, "sample"))
        }
        (Evidence::Sampled { runs, miss: Some(miss) }, _) => format!(
            "in {}, a bug of depth {} missed with a chance of at most {:.3}",
            counted(*runs, "sample"),
            miss.depth,
            miss.chance
        ),
        (Evidence::Sampled { .. }, _) => format!("{} on the server", finding.scope()),
        (Evidence::Exhausted, _) => format!("{}, {}", finding.scope(), counted(finding.stats.schedules, "schedule")),
        _ => finding.scope(),
    }
}

/// What a driver says beside its verdict: schedules that it left out, a limit that it met.
fn left_out(finding: &Finding) -> String {
    let reason = finding.reason.as_deref();
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// `lost_replies` as `lost reply`.
fn singular(name: &str) -> String {
    let name = name.replace('_', " ");
    match name.as_str() {
        _ if name.ends_with("ies") => format!("{}y", &name[..name.len() - 3]),
        _ if name.ends_with("shes") || name.ends_with("sses") => name[..name.len() - 2].to_owned(),
        _ => name.trim_end_matches('s').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{proved, singular};
    use crate::explore::Inside;

    #[test]
    fn bounds_are_told_one_by_one() {
        let bounds = [("processes", 2), ("crashes", 1), ("lost_replies", 3)];
        assert_eq!(
            proved(bounds.into_iter(), 997_981, 0),
            "proved: 2 processes, 1 crash, 3 lost replies, 997,981 states"
        );
        assert_eq!(singular("preemptions"), "preemption");
    }

    #[test]
    fn what_was_proved_says_which_orders_inside_of_statements_it_covers() {
        let told = |inside: Inside| inside.to_string();
        assert_eq!(told(Inside::Untold), "");
        assert_eq!(told(Inside::Atoms), "no order inside of statements was tried");
        assert!(told(Inside::Points(0)).starts_with("no statement has a point inside"));
        assert!(told(Inside::Points(1)).contains("at the one point where"));
        assert!(told(Inside::Points(14)).contains("at the 14 points where"));
        assert!(told(Inside::Everywhere).ends_with("at every point inside"));
    }
}
