//! Whether the server makes the plans that a verdict takes for granted: it is asked with EXPLAIN, on a database with the scenario's schema and seed.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use tokio_postgres::SimpleQueryMessage;

use super::source::{Server, blocking, connect, told};
use crate::world::database::{Database, PlanAssumption};

/// What the server does otherwise, one line each, in the order of the assumptions. Nothing is run; a statement that the server does not explain is
/// left out.
///
/// # Errors
/// When there is no database to ask in.
pub fn other_plans(server: &Server, database: &Database) -> Result<Vec<String>, String> {
    let assumed = database.plan_assumptions();
    if assumed.is_empty() {
        return Ok(Vec::new());
    }
    let scripts = database.scripts().to_vec();
    let asked = server.database("plans").map_err(|error| error.to_string())?;
    let config = asked.config().clone();
    let lines = blocking(async move || {
        let client = connect(&config).await?;
        for script in &scripts {
            client.batch_execute(script).await.map_err(|error| told(&error))?;
        }
        // Values decide nothing on tables without statistics, but NULL would.
        let generic = "SET plan_cache_mode = force_generic_plan";
        client.batch_execute(generic).await.map_err(|error| told(&error))?;
        let mut lines = BTreeSet::new();
        for assumption in &assumed {
            if let Some(plan) = explain(&client, assumption).await {
                lines.extend(otherwise(assumption, &plan));
            }
        }
        Ok(lines.into_iter().collect())
    });
    drop(asked);
    lines
}

async fn explain(client: &tokio_postgres::Client, assumption: &PlanAssumption) -> Option<Json> {
    let prepare = format!("PREPARE asked AS {}", assumption.statement);
    client.batch_execute(&prepare).await.ok()?;
    let values = vec!["NULL"; assumption.parameters].join(", ");
    let list = match assumption.parameters {
        0 => String::new(),
        _ => format!("({values})"),
    };
    let answer = client
        .simple_query(&format!("EXPLAIN (FORMAT JSON) EXECUTE asked{list}"))
        .await;
    // The next one needs the name, whatever came of this.
    let _ = client.batch_execute("DEALLOCATE asked").await;
    let text = answer.ok()?.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })?;
    let plan: Json = serde_json::from_str(&text).ok()?;
    Some(plan.get(0)?.get("Plan")?.clone())
}

/// How the server's plan departs from what was assumed, if it does.
fn otherwise(assumption: &PlanAssumption, plan: &Json) -> Option<String> {
    let table = &assumption.table;
    let Some(indexes) = &assumption.indexes else {
        return runs_again(plan, false).then(|| {
            format!("the server runs the sub-select that locks rows of {table} again for each row of a nested loop")
        });
    };
    let mut ways = Vec::new();
    reads(plan, table, &mut ways);
    let wanted: BTreeSet<String> = indexes.iter().map(ToString::to_string).collect();
    let other = ways.iter().find(|way| **way != wanted)?;
    if ways.contains(&wanted) {
        return None;
    }
    Some(match other.is_empty() {
        true => format!("the server reads the whole of {table}"),
        false => format!(
            "the server reads {table} by {}",
            other.iter().cloned().collect::<Vec<_>>().join(" and ")
        ),
    })
}

fn word<'p>(plan: &'p Json, key: &str) -> Option<&'p str> {
    plan.get(key)?.as_str()
}

fn below(plan: &Json) -> &[Json] {
    plan.get("Plans").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// The indexes by which each node reads a table.
fn reads(plan: &Json, table: &str, ways: &mut Vec<BTreeSet<String>>) {
    let node = word(plan, "Node Type").unwrap_or_default();
    if word(plan, "Relation Name") == Some(table) && (node.ends_with("Scan")) {
        let mut indexes = BTreeSet::new();
        names(plan, &mut indexes);
        ways.push(indexes);
        return;
    }
    below(plan).iter().for_each(|plan| reads(plan, table, ways));
}

fn names(plan: &Json, into: &mut BTreeSet<String>) {
    into.extend(word(plan, "Index Name").map(str::to_owned));
    below(plan).iter().for_each(|plan| names(plan, into));
}

/// Whether rows are locked on the inner side of a nested loop, where nothing keeps them.
fn runs_again(plan: &Json, inner: bool) -> bool {
    let node = word(plan, "Node Type").unwrap_or_default();
    if inner && node == "LockRows" {
        return true;
    }
    let kept = matches!(node, "Materialize" | "Hash" | "Sort");
    below(plan).iter().any(|part| {
        let repeated = node == "Nested Loop" && word(part, "Parent Relationship") == Some("Inner");
        runs_again(part, !kept && (inner || repeated))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::otherwise;
    use crate::world::database::PlanAssumption;

    fn assumption(indexes: Option<&[&str]>) -> PlanAssumption {
        PlanAssumption {
            statement: "".into(),
            parameters: 0,
            table: "jobs".into(),
            indexes: indexes.map(|names| names.iter().map(|name| (*name).into()).collect()),
        }
    }

    #[test]
    fn another_way_to_read_is_told_and_the_same_is_not() {
        let scan = json!({"Node Type": "Limit", "Plans": [{"Node Type": "Seq Scan", "Relation Name": "jobs"}]});
        let bits = json!({"Node Type": "Bitmap Heap Scan", "Relation Name": "jobs",
            "Plans": [{"Node Type": "Bitmap Index Scan", "Index Name": "jobs_due"}]});
        let by_index = assumption(Some(&["jobs_due"]));
        assert_eq!(
            otherwise(&by_index, &scan).as_deref(),
            Some("the server reads the whole of jobs")
        );
        assert_eq!(otherwise(&by_index, &bits), None);
        assert_eq!(
            otherwise(&assumption(Some(&[])), &bits).as_deref(),
            Some("the server reads jobs by jobs_due")
        );
    }

    #[test]
    fn a_locking_sub_select_inside_a_nested_loop_is_told() {
        let locks = |relationship: &str, kept: bool| {
            let rows = json!({"Node Type": "Limit", "Plans": [{"Node Type": "LockRows"}]});
            let side = match kept {
                true => json!({"Node Type": "Materialize", "Plans": [rows], "Parent Relationship": relationship}),
                false => json!({"Node Type": "Subquery Scan", "Plans": [rows], "Parent Relationship": relationship}),
            };
            json!({"Node Type": "ModifyTable", "Plans": [{"Node Type": "Nested Loop", "Plans": [side]}]})
        };
        assert!(otherwise(&assumption(None), &locks("Inner", false)).is_some());
        assert_eq!(otherwise(&assumption(None), &locks("Inner", true)), None);
        assert_eq!(otherwise(&assumption(None), &locks("Outer", false)), None);
    }
}
