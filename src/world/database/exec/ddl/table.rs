//! CREATE TABLE: columns, constraints, and the indexes and sequences behind them.

use std::sync::Arc;

use sqlparser::ast;

use crate::machine::Rows;
use crate::world::database::exec::catalog::{
    Action, Catalog, Check, Column, ForeignKey, IndexKey, Method, Sequence, Source, Table, no_relation,
};
use crate::world::database::exec::engine::{Call, Halt};
use crate::world::database::exec::planner::{condition_of, expression_of, plan_statement};
use crate::world::database::exec::session::Running;
use crate::world::database::sql::fold;
use crate::world::database::sql::refuse::{BindError, Refused, sql_error};
use crate::world::database::sql::types::{Type, resolve};
use crate::world::database::store::{SessionId, TableMode};

use super::{plain_refusal, relation, sequence_options};

/// An index that is about to be made.
pub(super) struct NewIndex {
    pub(super) name: Arc<str>,
    pub(super) method: Method,
    /// A GIN index without a list of pending entries.
    pub(super) at_once: bool,
    pub(super) keys: Vec<IndexKey>,
    pub(super) unique: bool,
    pub(super) nulls_not_distinct: bool,
    pub(super) primary: bool,
    pub(super) constraint: bool,
    pub(super) predicate: Option<Box<ast::Expr>>,
    pub(super) include: Vec<usize>,
}

/// A table that is about to be made.
struct Draft<'c> {
    catalog: &'c Catalog,
    table: Table,
    indexes: Vec<NewIndex>,
    /// Sequences by column, with first value and increment.
    sequences: Vec<(usize, Arc<str>, i64, i64)>,
    taken: Vec<Arc<str>>,
}

impl Call<'_> {
    pub(super) fn create_table(
        &mut self,
        id: SessionId,
        running: &mut Running,
        create: &ast::CreateTable,
    ) -> Result<Rows, Halt> {
        if create.partition_by.is_some() || create.inherits.is_some() || create.partition_of.is_some() {
            return Err(Halt::Refused(Refused::node("partitioned or inheriting table", create)));
        }
        if create.temporary || create.on_commit.is_some() {
            let refused =
                Refused::node("temporary table", &create.name).help("create a plain table under a name of its own");
            return Err(Halt::Refused(refused));
        }
        if create.like.is_some() || create.clone.is_some() {
            return Err(Halt::Refused(Refused::node("CREATE TABLE ... LIKE", create)));
        }
        let name = relation(&create.name)?;
        if running.journal.get(0).is_none() && !self.is_free(id, &name, create.if_not_exists)? {
            return Ok(Rows::default());
        }
        if let Some(query) = &create.query {
            return self.create_table_as(id, running, create, &name, query);
        }
        let catalog = Arc::clone(self.catalog(id));
        let mut draft = Draft::new(&catalog, &name);
        for column in &create.columns {
            draft.column(column)?;
        }
        for constraint in &create.constraints {
            draft.constraint(constraint)?;
        }
        draft.finish_checks()?;
        let parents: Vec<Arc<str>> = draft
            .table
            .foreign_keys
            .iter()
            .map(|key| Arc::clone(&key.parent))
            .collect();
        for (place, parent) in parents.iter().filter(|parent| **parent != name).enumerate() {
            let parent = catalog.table(parent)?.id;
            self.lock_for_ddl(id, running, place, parent, TableMode::ShareRowExclusive)?;
        }
        self.make(id, draft)?;
        Ok(Rows::default())
    }

    /// CREATE TABLE ... AS query.
    fn create_table_as(
        &mut self,
        id: SessionId,
        running: &mut Running,
        create: &ast::CreateTable,
        name: &Arc<str>,
        query: &ast::Query,
    ) -> Result<Rows, Halt> {
        let statement = ast::Statement::Query(Box::new(query.clone()));
        let catalog = Arc::clone(self.catalog(id));
        let plan = Arc::new(plan_statement(
            &catalog,
            &statement,
            Vec::new(),
            &[],
            crate::world::database::exec::planner::Off::default(),
        )?);
        let rows = self.run(id, running, &plan, &[])?;
        let mut draft = Draft::new(&catalog, name);
        for (place, (column, ty)) in plan.root.columns.iter().enumerate() {
            let name = create
                .columns
                .get(place)
                .map_or_else(|| Arc::clone(column), |column| fold(&column.name).into());
            draft.table.columns.push(Column {
                name,
                ty: ty.base(),
                not_null: false,
                source: Source::Nothing,
            });
        }
        let table = self.make(id, draft)?;
        let affected = rows.affected;
        for row in rows.rows {
            self.engine.store.insert(id, table.id, row.into())?;
        }
        Ok(Rows {
            affected,
            ..Rows::default()
        })
    }

    fn make(&mut self, id: SessionId, draft: Draft<'_>) -> Result<Arc<Table>, Halt> {
        let Draft {
            mut table,
            indexes,
            sequences,
            ..
        } = draft;
        table.id = self.engine.store.create_table();
        let name = Arc::clone(&table.name);
        let mut made = Vec::new();
        for (column, sequence, first, increment) in sequences {
            made.push(Sequence {
                id: self.engine.store.create_sequence(first),
                name: sequence,
                increment,
                owner: Some((Arc::clone(&name), Arc::clone(&table.columns[column].name))),
            });
        }
        let number = table.id;
        let catalog = self.change(id);
        for sequence in made {
            catalog.sequences.insert(Arc::clone(&sequence.name), Arc::new(sequence));
        }
        catalog.tables.insert(Arc::clone(&name), Arc::new(table));
        self.engine
            .store
            .lock_table(id, number, TableMode::AccessExclusive, false)?;
        for index in indexes {
            self.add_index(id, &name, index)?;
        }
        Ok(Arc::clone(self.catalog(id).table(&name)?))
    }
}

impl<'c> Draft<'c> {
    fn new(catalog: &'c Catalog, name: &Arc<str>) -> Self {
        Draft {
            catalog,
            table: Table {
                id: crate::world::database::store::TableId(u16::MAX),
                name: Arc::clone(name),
                columns: Vec::new(),
                indexes: Vec::new(),
                checks: Vec::new(),
                foreign_keys: Vec::new(),
                counted: None,
            },
            indexes: Vec::new(),
            sequences: Vec::new(),
            taken: vec![Arc::clone(name)],
        }
    }

    fn free(&mut self, base: &str) -> Arc<str> {
        let name = self.catalog.free_name(base, &self.taken);
        self.taken.push(Arc::clone(&name));
        name
    }

    fn column(&mut self, definition: &ast::ColumnDef) -> Result<(), BindError> {
        let name: Arc<str> = fold(&definition.name).into();
        if self.table.column(&name).is_some() {
            return Err(BindError::sql(
                b"42701",
                format!("column \"{name}\" specified more than once"),
            ));
        }
        let place = self.table.columns.len();
        let ty = resolve(&definition.data_type, &mut |_| None)?;
        let serial = is_serial(&definition.data_type);
        let source = match serial {
            true => Source::Serial(self.sequence(place, &name, (1, 1))),
            false => Source::Nothing,
        };
        self.table.columns.push(Column {
            name: Arc::clone(&name),
            ty,
            not_null: serial,
            source,
        });
        for option in &definition.options {
            self.column_option(place, option)?;
        }
        Ok(())
    }

    fn sequence(&mut self, place: usize, column: &str, (first, increment): (i64, i64)) -> Arc<str> {
        let sequence = self.free(&format!("{}_{column}_seq", self.table.name));
        self.sequences.push((place, Arc::clone(&sequence), first, increment));
        sequence
    }

    fn column_option(&mut self, place: usize, option: &ast::ColumnOptionDef) -> Result<(), BindError> {
        let name = Arc::clone(&self.table.columns[place].name);
        let given = |inner: &Option<ast::Ident>| {
            inner
                .as_ref()
                .or(option.name.as_ref())
                .map(|name| Arc::from(fold(name)))
        };
        match &option.option {
            ast::ColumnOption::Null => {}
            ast::ColumnOption::NotNull => self.table.columns[place].not_null = true,
            ast::ColumnOption::Default(expr) => {
                self.table.columns[place].source = Source::Default(Box::new(expr.clone()))
            }
            ast::ColumnOption::PrimaryKey(key) => {
                known_key(key.characteristics.as_ref())?;
                let name = given(&key.name);
                let include = self.include(&key.include)?;
                self.unique(name, vec![place], true, false, include)?;
            }
            ast::ColumnOption::Unique(key) => {
                known_key(key.characteristics.as_ref())?;
                let name = given(&key.name);
                let not_distinct = key.nulls_distinct == ast::NullsDistinctOption::NotDistinct;
                let include = self.include(&key.include)?;
                self.unique(name, vec![place], false, not_distinct, include)?;
            }
            ast::ColumnOption::ForeignKey(key) => self.foreign_key(given(&key.name), vec![place], key)?,
            ast::ColumnOption::Check(check) => {
                let given = given(&check.name);
                self.check(given, Some(&name), &check.expr);
            }
            ast::ColumnOption::Generated {
                generated_as,
                sequence_options: options,
                generation_expr,
                generation_expr_mode,
                ..
            } => match (generated_as, generation_expr) {
                (_, Some(expr)) => {
                    if *generation_expr_mode == Some(ast::GeneratedExpressionMode::Virtual) {
                        return Err(plain_refusal("VIRTUAL generated column").into());
                    }
                    self.table.columns[place].source = Source::Generated(Box::new(expr.clone()));
                }
                (kind, None) => {
                    let numbers = sequence_options(options.as_deref().unwrap_or(&[]))?;
                    let sequence = self.sequence(place, &name, numbers);
                    let column = &mut self.table.columns[place];
                    column.not_null = true;
                    column.source = Source::Identity {
                        sequence,
                        always: *kind == ast::GeneratedAs::Always,
                    };
                }
            },
            ast::ColumnOption::Collation(_) => {}
            other => return Err(plain_refusal(&format!("column option {other}")).into()),
        }
        Ok(())
    }

    fn constraint(&mut self, constraint: &ast::TableConstraint) -> Result<(), BindError> {
        let name = |name: &Option<ast::Ident>| name.as_ref().map(|name| Arc::from(fold(name)));
        match constraint {
            ast::TableConstraint::PrimaryKey(key) => {
                known_key(key.characteristics.as_ref())?;
                let columns = self.plain_columns(&key.columns)?;
                let include = self.include(&key.include)?;
                self.unique(name(&key.name), columns, true, false, include)
            }
            ast::TableConstraint::Unique(key) => {
                known_key(key.characteristics.as_ref())?;
                let columns = self.plain_columns(&key.columns)?;
                let not_distinct = key.nulls_distinct == ast::NullsDistinctOption::NotDistinct;
                let include = self.include(&key.include)?;
                self.unique(name(&key.name), columns, false, not_distinct, include)
            }
            ast::TableConstraint::ForeignKey(key) => {
                let mut columns = Vec::new();
                for column in &key.columns {
                    columns.push(self.key_column(&fold(column))?);
                }
                self.foreign_key(name(&key.name), columns, key)
            }
            ast::TableConstraint::Check(check) => {
                self.check(name(&check.name), None, &check.expr);
                Ok(())
            }
            other => Err(plain_refusal(&format!("table constraint {other}")).into()),
        }
    }

    fn key_column(&self, name: &str) -> Result<usize, BindError> {
        self.table
            .column(name)
            .ok_or_else(|| BindError::sql(b"42703", format!("column \"{name}\" named in key does not exist")))
    }

    fn include(&self, columns: &[ast::Ident]) -> Result<Vec<usize>, BindError> {
        columns.iter().map(|column| self.key_column(&fold(column))).collect()
    }

    fn plain_columns(&self, columns: &[ast::IndexColumn]) -> Result<Vec<usize>, BindError> {
        columns
            .iter()
            .map(|column| match &column.column.expr {
                ast::Expr::Identifier(name) => self.key_column(&fold(name)),
                other => Err(Refused::node("expression in a constraint", other).into()),
            })
            .collect()
    }

    fn unique(
        &mut self,
        name: Option<Arc<str>>,
        columns: Vec<usize>,
        primary: bool,
        nulls_not_distinct: bool,
        include: Vec<usize>,
    ) -> Result<(), BindError> {
        if primary {
            if self.indexes.iter().any(|index| index.primary) || self.table.primary_key().is_some() {
                let message = format!(
                    "multiple primary keys for table \"{}\" are not allowed",
                    self.table.name
                );
                return Err(BindError::sql(b"42P16", message));
            }
            for column in &columns {
                self.table.columns[*column].not_null = true;
            }
        }
        let name = match name {
            Some(name) => {
                self.taken.push(Arc::clone(&name));
                name
            }
            None if primary => self.free(&format!("{}_pkey", self.table.name)),
            None => {
                let names: Vec<&str> = columns
                    .iter()
                    .map(|column| &*self.table.columns[*column].name)
                    .collect();
                let base = format!("{}_{}_key", self.table.name, names.join("_"));
                self.free(&base)
            }
        };
        let new = NewIndex {
            name,
            method: Method::Btree,
            at_once: false,
            keys: columns.into_iter().map(IndexKey::Column).collect(),
            unique: true,
            nulls_not_distinct,
            primary,
            constraint: true,
            predicate: None,
            include,
        };
        // Postgres makes the primary key's index first.
        match primary {
            true => self.indexes.insert(0, new),
            false => self.indexes.push(new),
        }
        Ok(())
    }

    fn check(&mut self, name: Option<Arc<str>>, column: Option<&str>, expr: &ast::Expr) {
        let base = match column {
            Some(column) => format!("{}_{column}_check", self.table.name),
            None => format!("{}_check", self.table.name),
        };
        let used = |name: &str| self.table.checks.iter().any(|check| &*check.name == name);
        let name = name.unwrap_or_else(|| {
            std::iter::once(base.clone())
                .chain((1..).map(|number| format!("{base}{number}")))
                .find(|name| !used(name))
                .unwrap_or_default()
                .into()
        });
        self.table.checks.push(Check {
            name,
            expr: Box::new(expr.clone()),
        });
        self.table.checks.sort_by(|left, right| left.name.cmp(&right.name));
    }

    /// Every expression must be sound.
    fn finish_checks(&mut self) -> Result<(), BindError> {
        // A table-level CHECK over one column is named after that column, as Postgres names it.
        for check in &self.table.checks {
            condition_of(self.catalog, &self.table, &check.expr, "check constraints")?;
        }
        for column in &self.table.columns {
            if let Source::Default(expr) = &column.source {
                let bare = Table {
                    columns: Vec::new(),
                    ..self.table.clone()
                };
                expression_of(self.catalog, &bare, expr, "DEFAULT expressions")?;
            }
            if let Source::Generated(expr) = &column.source {
                expression_of(self.catalog, &self.table, expr, "column generation expressions")?;
            }
        }
        Ok(())
    }

    fn foreign_key(
        &mut self,
        name: Option<Arc<str>>,
        columns: Vec<usize>,
        key: &ast::ForeignKeyConstraint,
    ) -> Result<(), BindError> {
        let new = foreign_key(self.catalog, &self.table, &self.indexes, name, columns, key)?;
        self.table.foreign_keys.push(new);
        self.table
            .foreign_keys
            .sort_by(|left, right| left.name.cmp(&right.name));
        Ok(())
    }
}

/// A foreign key, resolved against the table it references (which may be the table itself).
pub(super) fn foreign_key(
    catalog: &Catalog,
    table: &Table,
    pending: &[NewIndex],
    name: Option<Arc<str>>,
    columns: Vec<usize>,
    key: &ast::ForeignKeyConstraint,
) -> Result<ForeignKey, BindError> {
    if key
        .match_kind
        .is_some_and(|kind| kind != ast::ConstraintReferenceMatchKind::Simple)
    {
        return Err(plain_refusal("MATCH of a foreign key").into());
    }
    if key
        .characteristics
        .as_ref()
        .is_some_and(|of| of.deferrable == Some(true))
    {
        return Err(plain_refusal("DEFERRABLE constraint").into());
    }
    let parent_name = relation(&key.foreign_table)?;
    let own = parent_name == table.name;
    let parent: &Table = match (own, catalog.tables.get(&parent_name)) {
        (true, _) => table,
        (false, Some(parent)) => parent,
        (false, None) => return Err(no_relation(&parent_name).into()),
    };
    let pending: &[NewIndex] = if own { pending } else { &[] };
    let unique: Vec<Vec<usize>> = parent
        .indexes
        .iter()
        .filter(|index| index.guards_key())
        .filter_map(crate::world::database::exec::catalog::Index::plain_columns)
        .chain(
            pending
                .iter()
                .filter(|index| index.unique)
                .map(|index| plain(&index.keys)),
        )
        .collect();
    let parent_columns = if key.referred_columns.is_empty() {
        let primary = parent
            .primary_key()
            .and_then(crate::world::database::exec::catalog::Index::plain_columns)
            .or_else(|| {
                pending
                    .iter()
                    .find(|index| index.primary)
                    .map(|index| plain(&index.keys))
            });
        primary.ok_or_else(|| {
            let message = format!("there is no primary key for referenced table \"{parent_name}\"");
            BindError::sql(b"42704", message)
        })?
    } else {
        let mut columns = Vec::new();
        for column in &key.referred_columns {
            let column = fold(column);
            columns.push(parent.column(&column).ok_or_else(|| {
                let message = format!("column \"{column}\" referenced in foreign key constraint does not exist");
                BindError::sql(b"42703", message)
            })?);
        }
        columns
    };
    if parent_columns.len() != columns.len() {
        let message = "number of referencing and referenced columns for foreign key disagree";
        return Err(BindError::sql(b"42830", message));
    }
    let same = |columns: &Vec<usize>| {
        columns.len() == parent_columns.len() && columns.iter().all(|column| parent_columns.contains(column))
    };
    if !unique.iter().any(same) {
        let message =
            format!("there is no unique constraint matching given keys for referenced table \"{parent_name}\"");
        return Err(BindError::sql(b"42830", message));
    }
    let name = name.unwrap_or_else(|| {
        let names: Vec<&str> = columns.iter().map(|column| &*table.columns[*column].name).collect();
        let base = format!("{}_{}_fkey", table.name, names.join("_"));
        let used = |name: &str| table.foreign_keys.iter().any(|key| &*key.name == name);
        std::iter::once(base.clone())
            .chain((1..).map(|number| format!("{base}{number}")))
            .find(|name| !used(name))
            .unwrap_or_default()
            .into()
    });
    Ok(ForeignKey {
        name,
        columns,
        parent: parent_name,
        parent_columns,
        on_delete: action(key.on_delete),
        on_update: action(key.on_update),
    })
}

/// A key that is checked at once; others would be checked when the statement or the transaction ends.
pub(super) fn known_key(characteristics: Option<&ast::ConstraintCharacteristics>) -> Result<(), BindError> {
    if characteristics.is_some_and(|said| said.deferrable == Some(true) || said.initially == Some(DEFERRED)) {
        return Err(plain_refusal("DEFERRABLE unique constraint")
            .help("leave DEFERRABLE out, if no statement relies on it")
            .into());
    }
    Ok(())
}

const DEFERRED: ast::DeferrableInitial = ast::DeferrableInitial::Deferred;

fn plain(keys: &[IndexKey]) -> Vec<usize> {
    keys.iter()
        .filter_map(|key| match key {
            IndexKey::Column(column) => Some(*column),
            IndexKey::Expression(_) => None,
        })
        .collect()
}

fn action(action: Option<ast::ReferentialAction>) -> Action {
    match action {
        None | Some(ast::ReferentialAction::NoAction) => Action::Nothing,
        Some(ast::ReferentialAction::Restrict) => Action::Restrict,
        Some(ast::ReferentialAction::Cascade) => Action::Cascade,
        Some(ast::ReferentialAction::SetNull) => Action::SetNull,
        Some(ast::ReferentialAction::SetDefault) => Action::SetDefault,
    }
}

/// The keys of CREATE INDEX.
pub(super) fn index_keys(
    catalog: &Catalog,
    table: &Table,
    columns: &[ast::IndexColumn],
) -> Result<Vec<IndexKey>, BindError> {
    let mut keys = Vec::new();
    for column in columns {
        keys.push(match &column.column.expr {
            ast::Expr::Identifier(name) => {
                let name = fold(name);
                let place = table.column(&name);
                IndexKey::Column(place.ok_or_else(|| sql_error(b"42703", format!("column \"{name}\" does not exist")))?)
            }
            ast::Expr::Nested(expr) => expression_key(catalog, table, expr)?,
            expr => expression_key(catalog, table, expr)?,
        });
    }
    Ok(keys)
}

fn expression_key(catalog: &Catalog, table: &Table, expr: &ast::Expr) -> Result<IndexKey, BindError> {
    expression_of(catalog, table, expr, "index expressions")?;
    Ok(IndexKey::Expression(Box::new(expr.clone())))
}

/// What names an index after its keys.
pub(super) fn key_names(table: &Table, keys: &[IndexKey]) -> Vec<String> {
    keys.iter()
        .map(|key| match key {
            IndexKey::Column(column) => table.columns[*column].name.to_string(),
            IndexKey::Expression(expr) => match &**expr {
                ast::Expr::Function(call) => call.name.to_string().to_lowercase(),
                _ => "expr".to_owned(),
            },
        })
        .collect()
}

fn is_serial(ty: &ast::DataType) -> bool {
    let name = ty.to_string().to_ascii_lowercase();
    matches!(
        name.as_str(),
        "serial" | "serial4" | "bigserial" | "serial8" | "smallserial" | "serial2"
    )
}

/// The type of a new column, and whether it is one of the serial types.
pub(super) fn column_type(ty: &ast::DataType) -> Result<(Type, bool), BindError> {
    Ok((resolve(ty, &mut |_| None)?, is_serial(ty)))
}
