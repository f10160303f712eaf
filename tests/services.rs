//! What the services beside the database may answer, besides what they usually do.

mod case;

use case::untitled;
use deadheat::explore::{Finding, Options, Verdict, brute_force, explore};

fn verdicts(finding: &Finding) -> Vec<(&str, Verdict)> {
    let judged = finding.invariants.iter();
    judged.map(|judged| (&*judged.invariant, judged.verdict)).collect()
}

/// Explores it, with all that makes it fast and in the plainest way: both say the same.
fn judged(text: &str) -> Vec<(String, Verdict)> {
    let scenario = untitled(text);
    let found = explore(&scenario.system, &Options::default());
    let plainly = brute_force(&scenario.system, &Options::default());
    assert_eq!(verdicts(&found), verdicts(&plainly), "{text}");
    assert_eq!(found.outcomes.len(), plainly.outcomes.len(), "{text}");
    let own = verdicts(&found).into_iter();
    own.map(|(name, verdict)| (name.to_owned(), verdict)).collect()
}

const PAYS: &str = r#"
[[process]]
name = "NAME"
steps = '''
_ := provider create_intent (amount: AMOUNT, reference: 'order 7', method: 'pm_card', confirm: true) key 'order 7';
respond 200;
'''
"#;

const PROMISES: &str = r#"
[[invariant]]
name = "charged once"
query = "select reference from provider_charges where paid group by reference having count(*) > 1"
[[invariant]]
name = "nobody is told to come back"
query = "select process from processes where state = 'failed'"
"#;

fn pays(name: &str, amount: u32) -> String {
    PAYS.replace("NAME", name).replace("AMOUNT", &amount.to_string())
}

#[test]
fn a_key_whose_first_request_has_no_answer_yet_may_be_in_use() {
    let two = [pays("a", 100), pays("b", 100), PROMISES.into()].concat();
    let found = judged(&two);
    assert_eq!(found[0].1, Verdict::Held);
    assert_eq!(found[1].1, Verdict::Violated);
    let told = explore(&untitled(&two).system, &Options::default());
    let outcomes: Vec<String> = told
        .outcomes
        .iter()
        .map(|reached| reached.outcome.to_string())
        .collect();
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    for name in ["a", "b"] {
        let told = format!("({name}, 500, There is currently another in-progress request using this key)");
        let refused = outcomes.iter().filter(|outcome| outcome.contains(&told));
        assert_eq!(refused.count(), 1, "{outcomes:?}");
    }
}

#[test]
fn a_request_that_comes_after_the_answer_is_given_the_same_one() {
    let twice = r#"
    [[process]]
    name = "a"
    steps = '''
    a := provider create_intent (amount: 100, reference: 'order 7', method: 'pm_card', confirm: true) key 'order 7';
    b := provider create_intent (amount: 100, reference: 'order 7', method: 'pm_card', confirm: true) key 'order 7';
    if a.id = b.id { respond 200; }
    '''
    "#;
    let found = judged(&[twice, PROMISES].concat());
    assert_eq!((found[0].1, found[1].1), (Verdict::Held, Verdict::Held));
}
