//! The cells of the grid: schemas, reads and writes.

#![allow(unreachable_pub, reason = "a part of one test")]

/// What stands before each schema's own indexes: a wide table, its partner, and the table that makes the other half of the circle.
const TABLES: &str = "create table u (id int primary key, t_id int); create table l (x int);";

/// A schema: its name, and the table `t` with its indexes.
pub const SCHEMAS: &[(&str, &str)] = &[
    (
        "primary key",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]);",
    ),
    (
        "secondary",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]); create index t_k on t (k);",
    ),
    (
        "composite",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]); create index t_k_v on t (k, v);",
    ),
    (
        "partial",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]);
         create index t_k on t (k) where v = 1; create index t_s on t (s) where k > 10;",
    ),
    (
        "hash",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]);
         create index t_k on t using hash (k); create index t_s on t using hash (s);",
    ),
    (
        "gin",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]);
         create index t_j on t using gin (j); create index t_a on t using gin (a);",
    ),
    (
        "no index",
        "create table t (id int, k int, v int, s text, j jsonb, a int[]);",
    ),
    (
        "expression",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]);
         create index t_lower on t (lower(s)); create index t_sum on t ((k + v));",
    ),
    (
        "covering",
        "create table t (id int primary key, k int, v int, s text, j jsonb, a int[]); create unique index t_k on t (k) include (v);
         create index t_v on t (v);",
    ),
];

/// The rows of a cell.
pub const SEED: &str = "insert into t (id, k, v, s, j, a) values
    (1, 10, 1, 'a', '{\"a\": 1}', '{1,2}'), (2, 20, 2, 'b', '{\"b\": 1}', '{2,3}'), (3, 30, 1, 'c', '{\"a\": 2}', '{3}'), (5, 50, 4, 'e', null, null);
    insert into u (id, t_id) values (1, 1), (2, 7);";

/// What the first transaction reads.
pub const READS: &[&str] = &[
    "select * from t where id = 1",
    "select v from t where id = 4",
    "select * from t where id in (1, 2)",
    "select * from t where id = any (array[1, 5])",
    "select * from t where id = 1 or id = 2",
    "select * from t where id = 1 or k = 20",
    "select * from t where id > 2",
    "select id from t where id > 2",
    "select * from t where id between 2 and 4",
    "select * from t where id >= 2 and id < 4 and v = 1",
    "select * from t where id <> 1",
    "select * from t where k = 10",
    "select * from t where k = 11",
    "select * from t where k = 10 and v = 1",
    "select * from t where k > 10 and v = 1",
    "select * from t where v = 1",
    "select k from t where v = 1",
    "select * from t where k = 10 or k = 20",
    "select * from t where k in (10, 30)",
    "select * from t where k > 15",
    "select * from t where k between 15 and 35",
    "select * from t where k is null",
    "select * from t where s = 'a'",
    "select * from t where s = 'a' and k = 10",
    "select * from t where s = 'c' and k > 10",
    "select * from t where s like 'a%'",
    "select * from t where lower(s) = 'a'",
    "select * from t where k + v = 11",
    "select * from t where (id, k) > (2, 20)",
    "select * from t where (k, v) = (10, 1)",
    "select * from t where (k, v) > (10, 1) order by k, v limit 1",
    "select * from t where j @> '{\"a\": 1}'",
    "select * from t where a @> array[1]",
    "select * from t where a && array[1, 3]",
    "select * from t where j ->> 'a' = '1'",
    "select count(*) from t",
    "select sum(v) from t where id < 3",
    "select max(id) from t",
    "select min(id), max(id) from t",
    "select max(k) from t",
    "select min(k) from t where v = 1",
    "select k, count(*) from t group by k",
    "select distinct v from t",
    "select * from t order by id limit 1",
    "select * from t order by id desc limit 1",
    "select * from t order by k limit 2",
    "select * from t where v = 1 order by id limit 1",
    "select * from t where k = 10 order by v limit 1",
    "select * from t limit 1",
    "select id from t order by id",
    "select * from u where exists (select 1 from t where t.id = u.t_id)",
    "select * from u where not exists (select 1 from t where t.k = u.t_id)",
    "select * from u where u.id = 1 and exists (select 1 from t where t.id = u.t_id)",
    "select * from u where t_id in (select id from t where v = 1)",
    "select * from u where t_id not in (select id from t)",
    "select * from u join t on t.id = u.t_id",
    "select * from u left join t on t.id = u.t_id where u.id = 1",
    "select (select v from t where t.id = u.t_id) from u",
    "select * from t where id in (select t_id from u where u.id = 1)",
    "select exists (select 1 from t where id = 4)",
    "select id from t where k = 10 union all select id from t where id = 3",
    "with c as (select * from t where id < 3) select * from c where v = 1",
];

/// What the second one writes.
pub const WRITES: &[&str] = &[
    "insert into t (id, k, v, s) values (4, 40, 1, 'd')",
    "insert into t (id, k, v, s) values (9, 90, 3, 'i')",
    "insert into t (id, k, v, s, j, a) values (0, 11, 1, 'a', '{\"a\": 1}', '{1}')",
    "update t set v = 5 where id = 1",
    "update t set v = 5 where id = 3",
    "update t set k = 15 where id = 1",
    "update t set k = 15, v = 1 where id = 5",
    "update t set s = 'z', j = '{\"z\": 1}', a = '{9}' where id = 2",
    "delete from t where id = 2",
    "delete from t where id = 5",
    "update t set id = 7 where id = 3",
    "insert into t (id, k, v) values (1, 0, 0) on conflict do nothing",
    "update t set v = v + 1",
];

/// A schema's text.
pub fn schema(own: &str) -> String {
    format!("{own} {TABLES}")
}

/// The statements of a cell in order, each with its session: `a` reads, `b` writes, and `b` has read what `a` writes. So it is the read of `a` that
/// makes a circle of it or does not.
pub fn steps(order: Order, read: &'static str, write: &'static str) -> Vec<(Session, &'static str)> {
    let begin = "begin isolation level serializable";
    let mut steps = vec![
        (Session::A, begin),
        (Session::B, begin),
        (Session::B, "select count(*) from l"),
    ];
    steps.extend(match order {
        Order::ReadFirst => [(Session::A, read), (Session::B, write)],
        Order::WriteFirst => [(Session::B, write), (Session::A, read)],
    });
    steps.extend([
        (Session::A, "insert into l values (1)"),
        (Session::A, "commit"),
        (Session::B, "commit"),
    ]);
    steps
}

/// Whose statement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    A,
    B,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    ReadFirst,
    WriteFirst,
}

/// A cell of the grid.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub schema: usize,
    pub read: &'static str,
    pub write: &'static str,
    pub order: Order,
}

/// Every cell, schema by schema.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for schema in 0..SCHEMAS.len() {
        for read in READS {
            for write in WRITES {
                for order in [Order::ReadFirst, Order::WriteFirst] {
                    cells.push(Cell {
                        schema,
                        read,
                        write,
                        order,
                    });
                }
            }
        }
    }
    cells
}
