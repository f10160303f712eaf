//! Reading the committed state from outside, for invariants.

use std::fmt::Write;
use std::sync::Arc;

use crate::machine::{Pid, Rows, Sql, SqlError, Usual};
use crate::value::Value;
use crate::world::database::sql::refuse::{BindError, sql_error};
use crate::world::database::sql::types::Type;
use crate::world::database::store::{Level, SessionId, Stop};

use super::engine::{Engine, columns, given_params};
use super::facade::{QueryError, VirtualTable};
use super::journal::Journal;
use super::made::Made;
use super::message::Message;
use super::pacer::Pacer;
use super::planner::Virtual;
use super::run::{self, Row, Setting};
use super::services::Serving;
use super::session::Session;

/// Who reads.
const READER: SessionId = Pid::root(252);

/// Runs one query over what is committed, at a moment. Plans are cached by the text and the shapes of the extra tables.
pub(super) fn query(engine: &Engine, sql: &Sql, extra: &[VirtualTable], now: i64) -> Result<Rows, QueryError> {
    let mut shapes: Vec<Virtual> = Vec::new();
    let mut key = sql.text.to_string();
    for table in extra {
        let mut columns = Vec::new();
        let _ = write!(key, "\u{0}{}", table.name);
        for (name, ty) in &table.columns {
            let _ = write!(key, "\u{0}{name} {ty}");
            let ty = Type::from_name(ty).ok_or_else(|| unknown_type(ty))?;
            columns.push((Arc::clone(name), ty));
        }
        shapes.push((Arc::clone(&table.name), columns.into()));
    }
    let message = engine
        .catalog
        .plans
        .get(&key.into(), || Message::parse(&sql.text))
        .map_err(|refused| QueryError::Refused(refused.into()))?;
    let [planned] = message.statements.as_slice() else {
        return Err(sql_error(b"42601", "one query is expected").into());
    };
    let plan = planned
        .plan_with(&engine.catalog, &shapes, super::planner::Off::default())
        .map_err(|error| match error {
            BindError::Refused(refused) => QueryError::Refused(refused.into()),
            BindError::Sql(error) => QueryError::Sql(error),
        })?;
    if plan.writes {
        return Err(sql_error(b"25006", "cannot execute a data-modifying statement here").into());
    }
    let mut session = Session {
        began: now,
        ..Session::default()
    };
    let params = given_params(&sql.params, &plan, &session.settings)?;
    let rows: Vec<Vec<Row>> = extra
        .iter()
        .map(|table| {
            table
                .rows
                .iter()
                .map(|row| Arc::<[Value]>::from(row.as_slice()))
                .collect()
        })
        .collect();
    let mut store = engine.store.clone();
    store.begin(READER, Level::RepeatableRead, true, false);
    let snapshot = store.start_statement(READER).map_err(failure)?;
    let mut serving = Serving {
        id: READER,
        session: &mut session,
        events: &mut Vec::new(),
        now,
        statement_time: now,
        made: &mut Made::default(),
        looked_at_clock: Default::default(),
    };
    let (rows, affected) = run::run(Setting {
        store: &mut store,
        services: &mut serving,
        session: READER,
        level: Level::RepeatableRead,
        catalog: &engine.catalog,
        plan: &plan,
        params: &params,
        snapshot,
        journal: &mut Journal::default(),
        done: 0,
        branch: &mut Usual,
        pacer: &mut Pacer::default(),
        extra: &rows,
    })
    .map_err(failure)?;
    Ok(Rows {
        columns: columns(&plan),
        rows: rows.iter().map(|row| row.to_vec()).collect(),
        affected,
    })
}

fn failure(stop: Stop) -> SqlError {
    match stop {
        Stop::Error(error) => error,
        Stop::Wait | Stop::Between => sql_error(b"0A000", "the query would wait"),
    }
}

fn unknown_type(name: &str) -> SqlError {
    sql_error(b"42704", format!("type \"{name}\" does not exist"))
}
