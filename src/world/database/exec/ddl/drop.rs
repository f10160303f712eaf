//! DROP, and what depends on what.

use std::sync::Arc;

use sqlparser::ast;

use crate::world::database::exec::catalog::{Catalog, IndexKey, Source, UNDEFINED_TABLE};
use crate::world::database::exec::engine::{Call, Halt};
use crate::world::database::exec::facade::Severity;
use crate::world::database::exec::planner::tables_of_view;
use crate::world::database::exec::session::{Block, Running};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::store::{SessionId, TableId, TableMode};

use super::{plain_refusal, relation};

/// Something that goes with what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Dependent {
    View(Arc<str>),
    ForeignKey { table: Arc<str>, name: Arc<str> },
    Default { table: Arc<str>, column: Arc<str> },
}

impl Dependent {
    /// As NOTICE tells it.
    fn describe(&self) -> String {
        match self {
            Dependent::View(name) => format!("view {name}"),
            Dependent::ForeignKey { table, name } => format!("constraint {name} on table {table}"),
            Dependent::Default { table, column } => format!("default value for column {column} of table {table}"),
        }
    }
}

impl Call<'_> {
    pub(super) fn drop(
        &mut self,
        id: SessionId,
        running: &mut Running,
        what: ast::ObjectType,
        if_exists: bool,
        list: &[ast::ObjectName],
        cascade: bool,
    ) -> Result<(), Halt> {
        let mut found = Vec::new();
        for given in list {
            let name = relation(given)?;
            let catalog = self.catalog(id);
            let (exists, word) = match what {
                ast::ObjectType::Table => (catalog.tables.contains_key(&name), "table"),
                ast::ObjectType::View => (catalog.views.contains_key(&name), "view"),
                ast::ObjectType::Sequence => (catalog.sequences.contains_key(&name), "sequence"),
                ast::ObjectType::Index => (catalog.index(&name).is_some(), "index"),
                other => return Err(Halt::Refused(plain_refusal(&format!("DROP {other}")))),
            };
            if exists {
                found.push(name);
            } else if catalog.has_relation(&name) {
                let message = format!("\"{name}\" is not {} {word}", if word == "index" { "an" } else { "a" });
                return Err(sql_error(b"42809", message).into());
            } else if if_exists {
                let message = format!("{word} \"{name}\" does not exist, skipping");
                self.notice(id, Severity::Notice, message);
            } else {
                let code = if what == ast::ObjectType::Index {
                    b"42704"
                } else {
                    &UNDEFINED_TABLE.0
                };
                return Err(sql_error(code, format!("{word} \"{name}\" does not exist")).into());
            }
        }
        match what {
            ast::ObjectType::Table => self.drop_tables(id, running, &found, cascade),
            ast::ObjectType::View => self.drop_views(id, running, &found, cascade),
            ast::ObjectType::Sequence => self.drop_sequences(id, running, &found, cascade),
            _ => self.drop_indexes(id, running, &found),
        }
    }

    fn drop_tables(
        &mut self,
        id: SessionId,
        running: &mut Running,
        found: &[Arc<str>],
        cascade: bool,
    ) -> Result<(), Halt> {
        let mut numbers = Vec::new();
        for (place, name) in found.iter().enumerate() {
            let table = self.catalog(id).table(name)?.id;
            numbers.push(table);
            self.lock_for_ddl(id, running, place, table, TableMode::AccessExclusive)?;
        }
        let catalog = Arc::clone(self.catalog(id));
        // A foreign key has a trigger at its other end: that table is locked as well.
        let mut ends: Vec<TableId> = Vec::new();
        for name in found {
            let parents = catalog.table(name)?.foreign_keys.iter().map(|key| &key.parent);
            let children = catalog.references_to(name).map(|(child, _)| &child.name);
            for other in parents.chain(children) {
                let number = catalog.table(other)?.id;
                if !numbers.contains(&number) && !ends.contains(&number) {
                    ends.push(number);
                }
            }
        }
        let mut dependents = views_over(&catalog, &numbers)?;
        for name in found {
            let outside = catalog
                .references_to(name)
                .filter(|(child, _)| !found.contains(&child.name));
            dependents.extend(outside.map(|(child, key)| Dependent::ForeignKey {
                table: Arc::clone(&child.name),
                name: Arc::clone(&key.name),
            }));
        }
        if let (false, Some(_), Some(name)) = (cascade, dependents.first(), found.first()) {
            return Err(depended_on("table", found, name).into());
        }
        for (place, number) in ends.into_iter().enumerate() {
            self.lock_for_ddl(id, running, found.len() + place, number, TableMode::AccessExclusive)?;
        }
        let next = running.journal.len();
        self.drop_dependents(id, running, next, &dependents)?;
        let catalog = self.change(id);
        for name in found {
            catalog.tables.remove(name);
            catalog
                .sequences
                .retain(|_, sequence| sequence.owner.as_ref().is_none_or(|(owner, _)| owner != name));
            for table in catalog.tables.values_mut() {
                if table.foreign_keys.iter().any(|key| key.parent == *name) {
                    Arc::make_mut(table).foreign_keys.retain(|key| key.parent != *name);
                }
            }
        }
        Ok(())
    }

    fn drop_views(
        &mut self,
        id: SessionId,
        running: &mut Running,
        found: &[Arc<str>],
        cascade: bool,
    ) -> Result<(), Halt> {
        let mut numbers = Vec::new();
        for (place, name) in found.iter().enumerate() {
            let Some(number) = self.catalog(id).views.get(name).map(|view| view.id) else {
                continue;
            };
            numbers.push(number);
            self.lock_for_ddl(id, running, place, number, TableMode::AccessExclusive)?;
        }
        let catalog = Arc::clone(self.catalog(id));
        let mut dependents = views_over(&catalog, &numbers)?;
        dependents.retain(|one| !matches!(one, Dependent::View(name) if found.contains(name)));
        if let (false, Some(_), Some(name)) = (cascade, dependents.first(), found.first()) {
            return Err(depended_on("view", found, name).into());
        }
        let next = running.journal.len();
        self.drop_dependents(id, running, next, &dependents)?;
        let catalog = self.change(id);
        found.iter().for_each(|name| drop(catalog.views.remove(name)));
        Ok(())
    }

    /// Who draws from a sequence takes a lock on it that the model does not have: with others about, dropping one is refused.
    fn drop_sequences(
        &mut self,
        id: SessionId,
        running: &mut Running,
        found: &[Arc<str>],
        cascade: bool,
    ) -> Result<(), Halt> {
        if self.session(id).block == Block::Explicit && !found.is_empty() {
            return Err(Halt::Refused(
                plain_refusal("DROP SEQUENCE in a transaction block").help("drop it outside of the transaction"),
            ));
        }
        let catalog = Arc::clone(self.catalog(id));
        let mut dependents = Vec::new();
        for table in catalog.tables.values() {
            for column in &table.columns {
                match &column.source {
                    Source::Serial(sequence) if found.contains(sequence) => dependents.push(Dependent::Default {
                        table: Arc::clone(&table.name),
                        column: Arc::clone(&column.name),
                    }),
                    Source::Identity { sequence, .. } if found.contains(sequence) => {
                        let message = format!(
                            "cannot drop sequence {sequence} because column {} of table {} requires it",
                            column.name, table.name
                        );
                        return Err(sql_error(b"2BP01", message).into());
                    }
                    Source::Default(expr) if mentions(expr, found) => dependents.push(Dependent::Default {
                        table: Arc::clone(&table.name),
                        column: Arc::clone(&column.name),
                    }),
                    _ => {}
                }
            }
        }
        if let (false, Some(_), Some(name)) = (cascade, dependents.first(), found.first()) {
            return Err(depended_on("sequence", found, name).into());
        }
        self.drop_dependents(id, running, 0, &dependents)?;
        let catalog = self.change(id);
        found.iter().for_each(|name| drop(catalog.sequences.remove(name)));
        Ok(())
    }

    /// CASCADE.
    fn drop_dependents(
        &mut self,
        id: SessionId,
        running: &mut Running,
        next: usize,
        dependents: &[Dependent],
    ) -> Result<(), Halt> {
        let catalog = Arc::clone(self.catalog(id));
        let views = dependents.iter().filter_map(|one| match one {
            Dependent::View(name) => catalog.views.get(name),
            _ => None,
        });
        for (place, view) in views.enumerate() {
            self.lock_for_ddl(id, running, next + place, view.id, TableMode::AccessExclusive)?;
        }
        match dependents {
            [] => return Ok(()),
            [one] => self.notice(id, Severity::Notice, format!("drop cascades to {}", one.describe())),
            several => self.notice(
                id,
                Severity::Notice,
                format!("drop cascades to {} other objects", several.len()),
            ),
        }
        let catalog = self.change(id);
        for one in dependents {
            match one {
                Dependent::View(name) => drop(catalog.views.remove(name)),
                Dependent::ForeignKey { table, name } => {
                    if let Some(table) = catalog.tables.get_mut(table) {
                        Arc::make_mut(table).foreign_keys.retain(|key| key.name != *name);
                    }
                }
                Dependent::Default { table, column } => {
                    if let Some(table) = catalog.tables.get_mut(table) {
                        let columns = Arc::make_mut(table).columns.iter_mut();
                        columns
                            .filter(|known| known.name == *column)
                            .for_each(|known| known.source = Source::Nothing);
                    }
                }
            }
        }
        Ok(())
    }

    fn drop_indexes(&mut self, id: SessionId, running: &mut Running, found: &[Arc<str>]) -> Result<(), Halt> {
        for (place, name) in found.iter().enumerate() {
            let Some((table, index)) = self.catalog(id).index(name) else {
                continue;
            };
            if index.constraint {
                let message = format!(
                    "cannot drop index {name} because constraint {name} on table {} requires it",
                    table.name
                );
                return Err(sql_error(b"2BP01", message).into());
            }
            let plain = |keys: &[IndexKey]| -> Option<Vec<usize>> {
                let columns = keys.iter().map(|key| match key {
                    IndexKey::Column(column) => Some(*column),
                    IndexKey::Expression(_) => None,
                });
                columns.collect()
            };
            let columns = plain(&index.keys);
            let used = self
                .catalog(id)
                .references_to(&table.name)
                .any(|(_, key)| index.unique && columns.as_ref().is_some_and(|columns| *columns == key.parent_columns));
            if used {
                return Err(Halt::Refused(plain_refusal(
                    "DROP INDEX of a unique index that a foreign key may need",
                )));
            }
            let (table_name, number) = (Arc::clone(&table.name), table.id);
            self.lock_for_ddl(id, running, place, number, TableMode::AccessExclusive)?;
            let catalog = self.change(id);
            if let Some(table) = catalog.tables.get_mut(&table_name) {
                Arc::make_mut(table).indexes.retain(|index| index.name != *name);
            }
        }
        Ok(())
    }

    /// A change of a table that a view over it might not survive, or might only survive because the server stores views by number.
    pub(super) fn refuse_under_views(&self, id: SessionId, number: TableId, what: &str) -> Result<(), Halt> {
        match views_over(self.catalog(id), &[number])?.is_empty() {
            true => Ok(()),
            false => Err(Halt::Refused(plain_refusal(&format!(
                "{what} of a table that a view reads"
            )))),
        }
    }
}

/// The views that read one of these, directly or through other views, each before those that read it.
fn views_over(catalog: &Catalog, numbers: &[TableId]) -> Result<Vec<Dependent>, Halt> {
    let mut views = Vec::new();
    for view in catalog.views.values() {
        let read = tables_of_view(catalog, view)?;
        if read.iter().any(|table| numbers.contains(table)) {
            views.push((read.len(), Dependent::View(Arc::clone(&view.name))));
        }
    }
    views.sort_by_key(|(read, _)| *read);
    Ok(views.into_iter().map(|(_, view)| view).collect())
}

fn depended_on(what: &str, found: &[Arc<str>], first: &str) -> crate::machine::SqlError {
    let message = match found.len() {
        1 => format!("cannot drop {what} {first} because other objects depend on it"),
        _ => "cannot drop desired object(s) because other objects depend on them".to_owned(),
    };
    sql_error(b"2BP01", message)
}

/// Whether a default names one of these sequences (`nextval('s')`).
fn mentions(expr: &ast::Expr, found: &[Arc<str>]) -> bool {
    let text = expr.to_string();
    text.to_ascii_lowercase().contains("nextval") && found.iter().any(|name| text.contains(&**name))
}
