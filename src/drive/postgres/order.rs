//! Which rows of a result may change places: SQL orders rows by the sort keys of the outermost ORDER BY, and by nothing else.
//!
//! The rows of RETURNING, of a query without ORDER BY and those with equal sort keys come in an order of the server's own, which depends on
//! its plan. They are compared as multisets. A sort key that is not among the result's columns is asked of the model, which runs the query
//! once more with that key as a further column; where that gives another result, rows that only such a key tells apart may change places.

use sqlparser::ast::{Expr, OrderByKind, Query, SelectItem, SetExpr, Statement as Ast, Value as Literal};

use crate::machine::{Pid, Rows, Sql, Usual};
use crate::value::Value;
use crate::world::database::sql::compare;
use crate::world::database::sql::parse::{Kind, parse};
use crate::world::database::{Database, DbEvent};

/// What a statement was sent into.
pub(super) struct Asked<'a> {
    /// The database before it; `None` when it waited since, so that it has seen another one.
    pub(super) before: Option<&'a Database>,
    /// Who sent it.
    pub(super) pid: Pid,
    /// The statement.
    pub(super) sql: &'a Sql,
    /// The time.
    pub(super) now: i64,
}

/// How many rows follow one another with equal sort keys, through the whole result of the model; those may change places.
pub(super) fn ties(asked: &Asked<'_>, rows: &Rows) -> Vec<usize> {
    let open = vec![rows.rows.len()];
    let Some(query) = ordered(asked.sql) else { return open };
    // It sorts first and locks then: after a wait the keys are newer than the order.
    if asked.before.is_none() && !query.locks.is_empty() {
        return open;
    }
    let places: Vec<Option<usize>> = keys(&query).iter().map(|key| visible(key, &query, rows)).collect();
    let hidden = places.iter().any(Option::is_none);
    match hidden.then(|| with_hidden(asked, &query, rows)).flatten() {
        Some(wider) => {
            let mut next = rows.columns.len();
            let places = places.into_iter().map(|place| {
                place.unwrap_or_else(|| {
                    next += 1;
                    next - 1
                })
            });
            runs(&wider, &places.collect::<Vec<_>>())
        }
        None => runs(rows, &places.into_iter().map_while(|place| place).collect::<Vec<_>>()),
    }
}

/// The message's last statement, if it is a query with ORDER BY.
fn ordered(sql: &Sql) -> Option<Query> {
    let statement = parse(&sql.text).ok()?.pop()?;
    match statement.kind {
        Kind::Sql(ast) => match *ast {
            Ast::Query(query) if !keys(&query).is_empty() => Some(*query),
            _ => None,
        },
        _ => None,
    }
}

fn keys(query: &Query) -> Vec<&Expr> {
    match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.iter().map(|key| &key.expr).collect(),
        _ => Vec::new(),
    }
}

/// In which column of the result a sort key is: as Postgres reads it, a number or a bare name of a column first.
fn visible(key: &Expr, query: &Query, rows: &Rows) -> Option<usize> {
    match key {
        Expr::Value(value) => match &value.value {
            Literal::Number(number, _) => number.to_string().parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        Expr::Identifier(name) => {
            let name = match name.quote_style {
                Some(_) => name.value.clone(),
                None => name.value.to_lowercase(),
            };
            rows.columns.iter().position(|column| *column.name == *name)
        }
        _ => {
            let SetExpr::Select(select) = &*query.body else {
                return None;
            };
            let mut items = select.projection.iter();
            // What a star stands for is not counted here.
            let plain = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr == key),
                _ => None,
            };
            let mut place = 0;
            loop {
                if plain(items.next()?)? {
                    return Some(place);
                }
                place += 1;
            }
        }
    }
}

/// The result with the sort keys that it does not show as further columns, if they can be had.
fn with_hidden(asked: &Asked<'_>, query: &Query, rows: &Rows) -> Option<Rows> {
    let mut database = asked.before.filter(|database| !database.is_blocked(asked.pid))?.clone();
    let mut wider = query.clone();
    // Nothing has to be locked to know the keys.
    wider.locks.clear();
    let hidden: Vec<Expr> = keys(query)
        .into_iter()
        .filter(|key| visible(key, query, rows).is_none())
        .cloned()
        .collect();
    let SetExpr::Select(select) = &mut *wider.body else {
        return None;
    };
    select
        .projection
        .extend(hidden.into_iter().map(SelectItem::UnnamedExpr));
    let sql = Sql {
        text: wider.to_string().into(),
        params: asked.sql.params.clone(),
        session: asked.sql.session,
    };
    let events = database.execute(asked.pid, &sql, asked.now, &mut Usual);
    let answered = events.into_iter().find_map(|event| match event {
        DbEvent::Done {
            session,
            result: Ok(results),
        } if session == asked.pid => Some(results),
        _ => None,
    });
    let [wider] = <[Rows; 1]>::try_from(answered?).ok()?;
    let width = rows.columns.len();
    let shown = wider.rows.iter().map(|row| row.get(..width));
    let same = shown.eq(rows.rows.iter().map(|row| Some(row.as_slice())));
    same.then_some(wider)
}

/// How many rows follow one another that are equal in these columns.
fn runs(rows: &Rows, places: &[usize]) -> Vec<usize> {
    let cell = |row: &Vec<Value>, place: usize| row.get(place).cloned().unwrap_or(Value::Null);
    let equal = |one: &Vec<Value>, next: &Vec<Value>| {
        let mut cells = places.iter().map(|place| (cell(one, *place), cell(next, *place)));
        cells.all(|(one, next)| compare::values(&one, &next).is_eq())
    };
    rows.rows.chunk_by(equal).map(<[_]>::len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<usize> {
        let mut database = Database::default();
        let script = "CREATE TABLE t (id int PRIMARY KEY, n numeric, s text); \
                      INSERT INTO t VALUES (1, 1.0, 'b'), (2, 1.00, 'a'), (3, 2, 'a'), (4, 3, 'c')";
        database.run_script(script).expect("a schema");
        let (pid, sql) = (Pid::root(0), Sql::new(text));
        let before = database.clone();
        let events = database.execute(pid, &sql, 0, &mut Usual);
        let rows = events.into_iter().find_map(|event| match event {
            DbEvent::Done { result, .. } => result.ok()?.pop(),
            _ => None,
        });
        let asked = Asked {
            before: Some(&before),
            pid,
            sql: &sql,
            now: 0,
        };
        ties(&asked, &rows.expect(text))
    }

    #[test]
    fn rows_without_an_order_may_all_change_places() {
        assert_eq!(of("SELECT * FROM t"), [4]);
        assert_eq!(of("UPDATE t SET s = 'x' RETURNING id"), [4]);
        assert_eq!(
            of(
                "WITH x AS (SELECT id FROM t ORDER BY id LIMIT 2) UPDATE t SET s = 'x' FROM x WHERE t.id = x.id RETURNING t.id"
            ),
            [2]
        );
        assert_eq!(of("SELECT * FROM (SELECT id FROM t ORDER BY id) x"), [4]);
    }

    #[test]
    fn rows_with_equal_sort_keys_may_change_places_and_others_may_not() {
        assert_eq!(of("SELECT id FROM t ORDER BY id"), [1, 1, 1, 1]);
        assert_eq!(
            of("SELECT id, n FROM t ORDER BY n"),
            [2, 1, 1],
            "1.0 and 1.00 are equal"
        );
        assert_eq!(of("SELECT s, id FROM t ORDER BY 1"), [2, 1, 1]);
        assert_eq!(of("SELECT t.id, t.s FROM t ORDER BY t.s DESC"), [1, 1, 2]);
        assert_eq!(
            of("SELECT id, s AS n FROM t ORDER BY n"),
            [2, 1, 1],
            "the result's own name comes first"
        );
        assert_eq!(
            of("SELECT id FROM t WHERE id < 3 UNION SELECT id FROM t ORDER BY id"),
            [1, 1, 1, 1]
        );
    }

    #[test]
    fn a_sort_key_that_the_result_does_not_show_counts_too() {
        assert_eq!(of("SELECT id FROM t ORDER BY s, n"), [1, 1, 1, 1]);
        assert_eq!(of("SELECT id FROM t ORDER BY n"), [2, 1, 1]);
        assert_eq!(of("SELECT * FROM t ORDER BY t.s"), [2, 1, 1]);
        assert_eq!(of("SELECT s, count(*) FROM t GROUP BY s ORDER BY max(id)"), [1, 1, 1]);
        assert_eq!(of("SELECT id FROM t ORDER BY n, id DESC FOR UPDATE"), [1, 1, 1, 1]);
    }
}
