//! The names an expression can see, and what binding asks of the planner.

use std::sync::Arc;

use sqlparser::ast;

use super::expr::{AggregateCall, Expr, SetCall};
use super::refuse::{BindError, Refused};
use super::types::Type;

/// The relations of one query level, and the level around it.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    /// The FROM items, in order; their columns lie in the level's row at [`Relation::offset`].
    pub relations: Vec<Relation>,
    /// Columns that an unqualified name finds before those of the relations: the merged ones of `JOIN ... USING`.
    pub merged: Vec<(Arc<str>, Expr, Type)>,
    /// The enclosing query, for correlated sub-selects.
    pub parent: Option<&'a Scope<'a>>,
}

/// A FROM item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The alias, or the table's name; `None` for a join that cannot be named.
    pub name: Option<Arc<str>>,
    /// Its columns.
    pub columns: Vec<ScopeColumn>,
    /// Where its first column lies in the level's row.
    pub offset: u16,
    /// Only `qualified` names find its columns (`excluded` in ON CONFLICT, a table whose columns were merged).
    pub qualified_only: bool,
    /// A function with one value: the relation's name alone means that value.
    pub scalar: bool,
}

/// A column that a name can find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeColumn {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Type,
    /// Not part of `*`: `ctid`, `xmin`, `xmax`, `tableoid`, or a dropped or merged column.
    pub hidden: bool,
}

impl Relation {
    /// A relation whose columns are all visible.
    pub fn new(name: impl Into<Arc<str>>, columns: impl IntoIterator<Item = (Arc<str>, Type)>, offset: u16) -> Self {
        Relation {
            name: Some(name.into()),
            columns: columns
                .into_iter()
                .map(|(name, ty)| ScopeColumn {
                    name,
                    ty,
                    hidden: false,
                })
                .collect(),
            offset,
            qualified_only: false,
            scalar: false,
        }
    }
}

impl<'a> Scope<'a> {
    /// A level without relations (`SELECT 1`).
    pub fn empty() -> Self {
        Scope::default()
    }

    /// A level inside this one, still without relations.
    pub fn inner(&'a self) -> Scope<'a> {
        Scope {
            parent: Some(self),
            ..Scope::default()
        }
    }

    /// The number of columns of the level's row.
    pub fn width(&self) -> u16 {
        self.relations
            .iter()
            .map(|relation| relation.offset + relation.columns.len() as u16)
            .max()
            .unwrap_or(0)
    }

    /// Adds a relation behind the others and returns where its columns begin.
    pub fn push(&mut self, name: impl Into<Arc<str>>, columns: impl IntoIterator<Item = (Arc<str>, Type)>) -> u16 {
        let offset = self.width();
        self.relations.push(Relation::new(name, columns, offset));
        offset
    }

    /// What a name without a qualifier means: a column, else (as Postgres allows) a whole row of a relation.
    pub fn column(&self, name: &str) -> Result<(Expr, Type), BindError> {
        let mut depth = 0;
        let mut level = Some(self);
        while let Some(scope) = level {
            if let Some(found) = scope.column_here(name, depth)? {
                return Ok(found);
            }
            depth += 1;
            level = scope.parent;
        }
        if let Some((relation, depth)) = self.relation(name) {
            return Ok(relation.whole_row(depth));
        }
        let mut levels = std::iter::successors(Some(self), |scope| scope.parent);
        if is_system(name) && levels.any(|scope| !scope.relations.is_empty()) {
            return Err(no_system_column(name));
        }
        Err(BindError::sql(b"42703", format!("column \"{name}\" does not exist")))
    }

    /// What `qualifier.name` means.
    pub fn qualified(&self, qualifier: &str, name: &str) -> Result<(Expr, Type), BindError> {
        let Some((relation, depth)) = self.relation(qualifier) else {
            return Err(BindError::sql(
                b"42P01",
                format!("missing FROM-clause entry for table \"{qualifier}\""),
            ));
        };
        let mut found = relation
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| &*column.name == name);
        let Some((index, column)) = found.next() else {
            if is_system(name) {
                return Err(no_system_column(name));
            }
            return Err(BindError::sql(
                b"42703",
                format!("column {qualifier}.{name} does not exist"),
            ));
        };
        if found.next().is_some() {
            return Err(ambiguous(name));
        }
        let index = relation.offset + index as u16;
        Ok((Expr::Column { depth, index }, column.ty.clone()))
    }

    /// The nearest relation of that name, and how many levels out it is.
    pub fn relation(&self, name: &str) -> Option<(&Relation, u16)> {
        let mut depth = 0;
        let mut level = Some(self);
        while let Some(scope) = level {
            let mut named = scope
                .relations
                .iter()
                .filter(|relation| relation.name.as_deref() == Some(name));
            if let Some(relation) = named.next() {
                return Some((relation, depth));
            }
            depth += 1;
            level = scope.parent;
        }
        None
    }

    fn column_here(&self, name: &str, depth: u16) -> Result<Option<(Expr, Type)>, BindError> {
        if let Some((_, expr, ty)) = self.merged.iter().find(|(merged, ..)| &**merged == name) {
            return Ok(Some((outwards(expr, depth), ty.clone())));
        }
        let mut found = None;
        for relation in self.relations.iter().filter(|relation| !relation.qualified_only) {
            for (index, column) in relation.columns.iter().enumerate() {
                if &*column.name != name {
                    continue;
                }
                if found.is_some() {
                    return Err(ambiguous(name));
                }
                let index = relation.offset + index as u16;
                found = Some((Expr::Column { depth, index }, column.ty.clone()));
            }
        }
        Ok(found)
    }
}

impl Relation {
    /// The relation's visible columns as one row value.
    pub fn whole_row(&self, depth: u16) -> (Expr, Type) {
        if let (true, [only]) = (self.scalar, self.columns.as_slice()) {
            let index = self.offset;
            return (Expr::Column { depth, index }, only.ty.clone());
        }
        let visible = || self.columns.iter().enumerate().filter(|(_, column)| !column.hidden);
        let fields = visible()
            .map(|(index, _)| Expr::Column {
                depth,
                index: self.offset + index as u16,
            })
            .collect();
        let types = visible()
            .map(|(_, column)| (column.name.clone(), column.ty.clone()))
            .collect();
        (Expr::Row(fields), Type::Record(types))
    }
}

/// Whether a name is that of a column that every table has beside its own.
pub fn is_system(name: &str) -> bool {
    matches!(name, "ctid" | "tableoid" | "xmin" | "xmax" | "cmin" | "cmax")
}

fn no_system_column(name: &str) -> BindError {
    Refused::span(
        format!("system column {name}"),
        sqlparser::tokenizer::Span::empty(),
        name,
    )
    .help("of these, only xmax in the RETURNING of an INSERT is known, for `(xmax = 0) as inserted`")
    .into()
}

fn ambiguous(name: &str) -> BindError {
    BindError::sql(b"42702", format!("column reference \"{name}\" is ambiguous"))
}

/// A merged column seen from `depth` levels further in.
fn outwards(expr: &Expr, depth: u16) -> Expr {
    match expr {
        Expr::Column { depth: own, index } => Expr::Column {
            depth: own + depth,
            index: *index,
        },
        Expr::Coalesce(list) => Expr::Coalesce(list.iter().map(|expr| outwards(expr, depth)).collect()),
        Expr::Cast {
            expr,
            from,
            to,
            context,
        } => Expr::Cast {
            expr: Box::new(outwards(expr, depth)),
            from: from.clone(),
            to: to.clone(),
            context: *context,
        },
        other => other.clone(),
    }
}

/// The columns of a sub-select: names and types.
pub type Columns = Vec<(Arc<str>, Type)>;

/// What binding an expression asks of the planner. Every default answer is a refusal.
pub trait Binder {
    /// The types of `$1`, `$2`, ... as far as they are known.
    fn params(&mut self) -> &mut ParamTypes;

    /// Plans a sub-select inside `scope`; returns its number and its columns (name and type).
    fn subquery(&mut self, query: &ast::Query, scope: &Scope<'_>) -> Result<(u32, Columns), BindError>;

    /// Gives a number to an aggregate; an error where aggregates may not stand
    /// (42803 `aggregate functions are not allowed in WHERE`).
    fn aggregate(&mut self, call: AggregateCall) -> Result<u32, BindError> {
        let _ = call;
        Err(BindError::sql(b"42803", "aggregate functions are not allowed here"))
    }

    /// Gives a number to a set-returning call of the select list; an error where none may stand.
    fn set_returning(&mut self, call: SetCall) -> Result<u32, BindError> {
        let _ = call;
        Err(BindError::sql(b"0A000", "set-returning functions are not allowed here"))
    }

    /// A function of the schema with this name and these argument types (unknown literals are [`Type::Unknown`]).
    fn function(&mut self, name: &str, args: &[Type]) -> Option<UserFunction> {
        let _ = (name, args);
        None
    }

    /// A type of the schema (an enum) with this name.
    fn user_type(&mut self, name: &str) -> Option<Type> {
        let _ = name;
        None
    }

    /// The OID of a relation, for `'name'::regclass`.
    fn relation_oid(&mut self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }

    /// Refuses, or lets pass, a window function.
    fn window(&mut self, call: &ast::Function) -> Result<(Expr, Type), BindError> {
        Err(Refused::node("window function", call).into())
    }
}

/// A function of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFunction {
    /// Its number, for [`Env::user`](super::eval::Env::user).
    pub id: u32,
    /// The types its arguments are cast to.
    pub args: Vec<Type>,
    /// What it returns.
    pub result: Type,
}

/// The types of a statement's parameters.
///
/// Of a prepared statement each parameter has one type, settled by its first use (and refused with 42P08 by a use as another). Where values are
/// sent along with the text, they are literals in it: each place settles a type of its own, as `'1'` does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ParamTypes {
    types: Vec<Type>,
    /// For literals: the parameter and type of each place; two places of the same type are one.
    places: Option<Vec<ParamPlace>>,
}

/// The number of a parameter, from 1, and the type that is needed of it.
pub type ParamPlace = (u16, Type);

impl ParamTypes {
    /// Types declared beforehand (`PREPARE p(int, text)`).
    pub fn declared(types: Vec<Type>) -> Self {
        ParamTypes { types, places: None }
    }

    /// Values that are literals in the text. Those of a known type have it everywhere.
    pub fn literals(types: Vec<Type>) -> Self {
        ParamTypes {
            types,
            places: Some(Vec::new()),
        }
    }

    /// What `$number` is where it stands: its number among those that [`places`](ParamTypes::places) gives, and its type;
    /// [`Type::Unknown`] as long as nothing said so.
    pub fn bind(&mut self, number: u16) -> (u16, Type) {
        let known = self.types.get(usize::from(number).wrapping_sub(1));
        let ty = known.cloned().unwrap_or(Type::Unknown);
        match self.places.is_some() {
            true => (self.place(number, ty.clone()), ty),
            false => (number, ty),
        }
    }

    /// Settles the type of a parameter of unknown type that [`bind`](ParamTypes::bind) gave; returns its number from now on.
    pub fn settle(&mut self, number: u16, ty: &Type) -> Result<u16, BindError> {
        let ty = ty.base();
        let at = usize::from(number).saturating_sub(1);
        if let Some(places) = &self.places {
            let parameter = places.get(at).map_or(number, |(parameter, _)| *parameter);
            return Ok(self.place(parameter, ty));
        }
        if self.types.len() <= at {
            self.types.resize(at + 1, Type::Unknown);
        }
        if self.types[at] == Type::Unknown {
            self.types[at] = ty;
        } else if !self.types[at].same(&ty) {
            let (one, other) = (self.types[at].plain_name(), ty.plain_name());
            return Err(BindError::sql(
                b"42P08",
                format!("inconsistent types deduced for parameter ${number}: {one} versus {other}"),
            ));
        }
        Ok(number)
    }

    fn place(&mut self, parameter: u16, ty: Type) -> u16 {
        let places = self.places.get_or_insert_default();
        let wanted = (parameter, ty);
        let known = places.iter().position(|place| *place == wanted);
        let at = known.unwrap_or_else(|| {
            places.push(wanted);
            places.len() - 1
        });
        at as u16 + 1
    }

    /// All of them, in the order of their numbers.
    pub fn places(&self) -> Vec<ParamPlace> {
        match &self.places {
            Some(places) => places.clone(),
            None => (1..).zip(self.types.iter().cloned()).collect(),
        }
    }
}
