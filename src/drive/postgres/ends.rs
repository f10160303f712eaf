//! How the end of a run on the server is compared with the model's: the tables' rows, and what the provider has.

use std::sync::Arc;

use super::aliases::Aliases;
use super::compare::{cells, tell_row};
use super::stage::Stage;
use super::wire::TextRows;
use crate::machine::Sql;
use crate::system::State;
use crate::world::provider::PROVIDER;
use crate::world::service::Provided;

pub(super) fn provider_differs(stage: &Stage, state: &State) -> Option<String> {
    let gateway = stage.gateway()?;
    let model = state.world.services.get(PROVIDER)?;
    let theirs = gateway.provider();
    let tables = |provider: &Provided| format!("{:?}", provider.get().tables());
    (theirs != *model).then(|| {
        format!(
            "the model's provider has {}; the one behind the socket has {}",
            tables(model),
            tables(&theirs)
        )
    })
}

/// How the first table that differs does so; one that is locked was not read.
pub(super) fn rows_differ(tables: &[(Arc<str>, Option<TextRows>)], state: &State, aliases: &Aliases) -> Option<String> {
    let database = &state.world.database;
    let mut aliases = aliases.clone();
    tables.iter().find_map(|(table, rows)| {
        let mut rows = rows.clone()?;
        let query = Sql::new(format!("SELECT * FROM {table}"));
        let mut ours = match database.query(&query, &[]) {
            Ok(model) => cells(&model),
            Err(error) => return Some(format!("{table}: the model says {error}")),
        };
        aliases.read(&ours, &mut rows, &|text| database.made_up(text));
        let mut theirs = rows.rows;
        ours.sort();
        theirs.sort();
        let shown = |rows: &[Vec<_>]| rows.iter().map(|row| tell_row(row)).collect::<Vec<_>>().join(", ");
        (ours != theirs).then(|| {
            format!(
                "{table}: the model has {}; the server has {}",
                shown(&ours),
                shown(&theirs)
            )
        })
    })
}
