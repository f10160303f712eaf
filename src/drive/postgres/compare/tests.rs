//! Whatever an answer has is compared: leaving one thing out would let the model and the server differ in it unseen.

use super::*;
use crate::machine::sql::{Column, SqlState};
use crate::value::Value;

const STRICT: Strictness = Strictness {
    messages: true,
    order: true,
};

fn model(rows: &[i64], affected: u64) -> Rows {
    Rows {
        columns: vec![Column {
            name: "n".into(),
            type_name: "bigint".into(),
        }],
        rows: rows.iter().map(|number| vec![Value::Int(*number)]).collect(),
        affected,
    }
}

fn server(rows: &[&str], affected: u64) -> Answer {
    Answer {
        results: vec![TextRows {
            columns: Some(vec!["n".into()]),
            rows: rows.iter().map(|text| vec![Some((*text).into())]).collect(),
            affected,
        }],
        error: None,
    }
}

fn refused(code: &str, constraint: Option<&str>, message: &str) -> Answer {
    Answer {
        results: Vec::new(),
        error: Some(WireError {
            severity: "ERROR".into(),
            code: code.into(),
            message: message.into(),
            constraint: constraint.map(Arc::from),
        }),
    }
}

#[test]
fn rows_names_counts_and_their_order_are_compared() {
    let ours = Ok(model(&[1, 2], 2));
    assert_eq!(difference(&ours, &server(&["1", "2"], 2), STRICT), None);
    assert!(difference(&ours, &server(&["1", "3"], 2), STRICT).is_some(), "a value");
    assert!(
        difference(&ours, &server(&["1"], 2), STRICT).is_some(),
        "a row is missing"
    );
    let told = difference(&ours, &server(&["1", "2"], 3), STRICT);
    assert!(told.is_some_and(|told| told.contains("count 3")), "the row count");
    let mut renamed = server(&["1", "2"], 2);
    renamed.results[0].columns = Some(vec!["m".into()]);
    assert!(difference(&ours, &renamed, STRICT).is_some(), "a column's name");
    let turned = server(&["2", "1"], 2);
    assert!(
        difference(&ours, &turned, STRICT).is_some(),
        "the order, where it counts"
    );
    let loose = Strictness { order: false, ..STRICT };
    assert_eq!(difference(&ours, &turned, loose), None, "and where it does not");
    assert!(
        difference(&ours, &Answer::default(), STRICT).is_some(),
        "nothing came back"
    );
}

#[test]
fn errors_are_compared_by_code_constraint_and_message() {
    let error = SqlError::new(SqlState(*b"23505"), "duplicate key").on("a_pkey");
    let ours = Err(error);
    let same = refused("23505", Some("a_pkey"), "duplicate key");
    assert_eq!(difference(&ours, &same, STRICT), None);
    for other in [
        refused("23503", Some("a_pkey"), "duplicate key"),
        refused("23505", Some("b_pkey"), "duplicate key"),
        refused("23505", Some("a_pkey"), "something else"),
        server(&[], 0),
    ] {
        assert!(difference(&ours, &other, STRICT).is_some(), "{other:?}");
    }
    let loose = Strictness {
        messages: false,
        ..STRICT
    };
    assert_eq!(
        difference(&ours, &refused("23505", Some("a_pkey"), "other"), loose),
        None
    );
    assert!(
        difference(&Ok(model(&[], 0)), &same, STRICT).is_some(),
        "an error where none should be"
    );
}
