//! Generated statements, weighted towards conflict: few rows, few keys, many locks.

use super::gene::Gene;
use super::schema::Schema;

/// One statement as SQL.
pub(super) fn statement(gene: &mut Gene<'_>, schema: &Schema) -> String {
    match gene.below(24) {
        0..4 => select(gene),
        4..9 => update(gene, schema),
        9..13 => insert(gene, schema),
        13..15 => delete(gene, schema),
        15..17 => child(gene),
        17 => query(gene),
        18 => with_writes(gene, schema),
        19 => advisory(gene),
        20 => savepoint(gene),
        21 => lock_table(gene),
        22 => sequence(gene),
        _ => merge(gene, schema),
    }
}

/// How a session's transaction begins.
pub(super) fn begin(gene: &mut Gene<'_>) -> &'static str {
    gene.construct(&[
        ("read committed", "BEGIN"),
        ("repeatable read", "BEGIN ISOLATION LEVEL REPEATABLE READ"),
        ("serializable", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
        ("read committed", "BEGIN ISOLATION LEVEL READ COMMITTED"),
        ("serializable", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
        ("serializable read only", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"),
    ])
}

/// How a session's transaction ends.
pub(super) fn end(gene: &mut Gene<'_>) -> &'static str {
    gene.construct(&[("commit", "COMMIT"), ("commit", "COMMIT"), ("rollback", "ROLLBACK")])
}

fn key(gene: &mut Gene<'_>) -> u8 {
    gene.pick(&[1, 2, 3, 4, 1, 2])
}

fn condition(gene: &mut Gene<'_>) -> String {
    let id = key(gene);
    match gene.below(14) {
        0..4 => format!("id = {id}"),
        4 => "v > 10".to_owned(),
        5 => "true".to_owned(),
        6 => format!("k = {id}"),
        7 => construct(gene, "is null", "k IS NULL"),
        8 => construct(gene, "in list", &format!("id IN ({id}, 3)")),
        9 => construct(gene, "between", "id BETWEEN 1 AND 2"),
        10 => construct(gene, "scalar sub-select", "id = (SELECT min(x) + 1 FROM c)"),
        11 => construct(gene, "in sub-select", "id IN (SELECT t_id FROM c)"),
        12 => construct(gene, "exists", "EXISTS (SELECT 1 FROM c WHERE c.t_id = t.id)"),
        _ => construct(gene, "any array", &format!("id = ANY (ARRAY[{id}, 2])")),
    }
}

fn construct(gene: &mut Gene<'_>, name: &'static str, sql: &str) -> String {
    gene.cover(name);
    sql.to_owned()
}

fn row_lock(gene: &mut Gene<'_>) -> &'static str {
    gene.construct(&[
        ("for update", " FOR UPDATE"),
        ("", ""),
        ("for no key update", " FOR NO KEY UPDATE"),
        ("for share", " FOR SHARE"),
        ("for key share", " FOR KEY SHARE"),
        ("nowait", " FOR UPDATE NOWAIT"),
        ("skip locked", " FOR UPDATE SKIP LOCKED"),
        ("share nowait", " FOR SHARE NOWAIT"),
        ("key share skip locked", " FOR KEY SHARE SKIP LOCKED"),
        ("", ""),
    ])
}

fn select(gene: &mut Gene<'_>) -> String {
    let condition = condition(gene);
    let lock = row_lock(gene);
    let tail = match gene.below(5) {
        0..3 => " ORDER BY id".to_owned(),
        3 => construct(gene, "order by limit", " ORDER BY id LIMIT 1"),
        _ => construct(gene, "order by desc offset", " ORDER BY v DESC, id LIMIT 2 OFFSET 1"),
    };
    format!("SELECT id, k, v, s FROM t WHERE {condition}{tail}{lock}")
}

fn assignment(gene: &mut Gene<'_>, schema: &Schema) -> String {
    let id = key(gene);
    match gene.below(12) {
        0..4 => "v = v + 1".to_owned(),
        4 => format!("v = {}", id * 10),
        5 => construct(gene, "key change", &format!("k = {id}")),
        6 if !schema.has_reference => construct(gene, "primary key change", &format!("id = {}", id + 2)),
        6 => construct(gene, "referenced key change", &format!("id = {}", id + 3)),
        7 => construct(gene, "same key", "id = id, v = v + 2"),
        8 => construct(gene, "case", "v = CASE WHEN v > 20 THEN v - 5 ELSE v + 5 END"),
        9 => construct(gene, "coalesce", "k = COALESCE(k, 0) + 1, s = s || 'x'"),
        10 => construct(gene, "sub-select in set", "v = (SELECT max(v) FROM t) + 1"),
        _ => construct(gene, "set default", "v = DEFAULT, k = NULL"),
    }
}

fn returning(gene: &mut Gene<'_>) -> &'static str {
    gene.construct(&[
        ("", ""),
        ("returning", " RETURNING id, k, v"),
        ("returning", " RETURNING id, v"),
    ])
}

fn update(gene: &mut Gene<'_>, schema: &Schema) -> String {
    let set = assignment(gene, schema);
    match gene.below(8) {
        7 => {
            gene.cover("update from");
            let set = set.replace("(SELECT max(v) FROM t)", "c.x");
            let set = qualify(&set);
            format!(
                "UPDATE t SET {set} FROM c WHERE c.t_id = t.id AND c.id = {}",
                gene.pick(&[1, 2])
            )
        }
        _ => format!("UPDATE t SET {set} WHERE {}{}", condition(gene), returning(gene)),
    }
}

/// In UPDATE ... FROM the right-hand sides must say whose column they mean.
fn qualify(set: &str) -> String {
    match set {
        "id = id, v = v + 2" => "id = t.id, v = t.v + 2".to_owned(),
        _ => set.to_owned(),
    }
}

fn insert(gene: &mut Gene<'_>, schema: &Schema) -> String {
    let (id, other) = (key(gene), key(gene));
    let rows = match gene.below(8) {
        0..4 => format!("VALUES ({id}, {other}, 40)"),
        4 => construct(
            gene,
            "multi-row insert",
            &format!("VALUES ({id}, {other}, 40), (5, 5, 50)"),
        ),
        5 => construct(
            gene,
            "insert select",
            &format!("SELECT id + {id}, k, v FROM t WHERE id = {other}"),
        ),
        6 => construct(gene, "insert null key", &format!("VALUES ({id}, NULL, 70)")),
        _ => construct(gene, "insert default", &format!("VALUES ({id}, {other}, DEFAULT)")),
    };
    let arbiter = match schema.arbiters.as_slice() {
        [] => None,
        arbiters => Some(gene.pick(arbiters)),
    };
    let conflict = match (gene.below(6), arbiter) {
        (0..2, _) | (4.., None) => String::new(),
        (2, _) | (3, None) => construct(gene, "on conflict do nothing", " ON CONFLICT DO NOTHING"),
        (3, Some(arbiter)) => construct(
            gene,
            "on conflict target do nothing",
            &format!(" ON CONFLICT {arbiter} DO NOTHING"),
        ),
        (4, Some(arbiter)) => construct(
            gene,
            "on conflict do update",
            &format!(" ON CONFLICT {arbiter} DO UPDATE SET v = t.v + 1, s = excluded.s || '+'"),
        ),
        (_, Some(arbiter)) => construct(
            gene,
            "on conflict do update where",
            &format!(" ON CONFLICT {arbiter} DO UPDATE SET v = excluded.v WHERE t.v < 25"),
        ),
    };
    format!("INSERT INTO t (id, k, v) {rows}{conflict}{}", returning(gene))
}

fn delete(gene: &mut Gene<'_>, schema: &Schema) -> String {
    let _ = schema;
    match gene.below(5) {
        4 => construct(
            gene,
            "delete using",
            "DELETE FROM t USING c WHERE c.t_id = t.id AND c.id = 1",
        ),
        _ => format!("DELETE FROM t WHERE {}{}", condition(gene), returning(gene)),
    }
}

fn child(gene: &mut Gene<'_>) -> String {
    let (id, parent) = (gene.pick(&[3, 4, 1]), key(gene));
    match gene.below(5) {
        0..2 => construct(
            gene,
            "insert child",
            &format!("INSERT INTO c (id, t_id) VALUES ({id}, {parent})"),
        ),
        2 => construct(
            gene,
            "update child",
            &format!("UPDATE c SET t_id = {parent} WHERE id = 1"),
        ),
        3 => construct(gene, "delete child", "DELETE FROM c WHERE id = 1"),
        _ => format!("UPDATE c SET x = x + 1 WHERE t_id = {parent}"),
    }
}

fn query(gene: &mut Gene<'_>) -> String {
    gene.construct(&[
        ("count", "SELECT count(*) FROM t"),
        (
            "inner join",
            "SELECT t.id, c.id, c.x FROM t JOIN c ON c.t_id = t.id ORDER BY t.id, c.id",
        ),
        (
            "left join",
            "SELECT t.id, c.id FROM t LEFT JOIN c ON c.t_id = t.id ORDER BY t.id, c.id",
        ),
        ("cross join", "SELECT count(*) FROM t CROSS JOIN c"),
        (
            "group by having",
            "SELECT k IS NULL, count(*), sum(v) FROM t GROUP BY k IS NULL HAVING count(*) > 0 ORDER BY 1",
        ),
        (
            "aggregates",
            "SELECT min(v), max(v), sum(v), count(k), bool_and(v > 5) FROM t",
        ),
        ("distinct", "SELECT DISTINCT s FROM t ORDER BY s"),
        ("union", "SELECT id FROM t UNION SELECT t_id FROM c ORDER BY 1"),
        ("except", "SELECT id FROM t EXCEPT SELECT t_id FROM c ORDER BY 1"),
        ("intersect", "SELECT id FROM t INTERSECT SELECT t_id FROM c ORDER BY 1"),
        (
            "cte",
            "WITH x AS (SELECT id, v FROM t WHERE v > 10) SELECT count(*), sum(v) FROM x",
        ),
        (
            "string functions",
            "SELECT upper(s), length(s), s LIKE 'a%' FROM t WHERE id = 1",
        ),
        (
            "join for update",
            "SELECT t.id, c.id, t.v FROM t JOIN c ON c.t_id = t.id WHERE c.id = 1 FOR UPDATE OF t",
        ),
        (
            "join for update both",
            "SELECT t.id, t.v, c.x FROM t JOIN c ON c.t_id = t.id WHERE c.id = 1 FOR UPDATE",
        ),
        (
            "locking sub-select",
            "SELECT id, v FROM (SELECT id, v FROM t WHERE id = 1 FOR UPDATE) x",
        ),
        (
            "correlated sub-select",
            "SELECT id, (SELECT count(*) FROM c WHERE c.t_id = t.id) FROM t ORDER BY id",
        ),
        ("arithmetic", "SELECT 7 / 2, 7 % 3, 1.50 + 2, -5, 2 * 3.0"),
        (
            "three-valued logic",
            "SELECT k > 1, k IS DISTINCT FROM 1, NOT (k > 1), k > 1 OR true FROM t ORDER BY id",
        ),
    ])
    .to_owned()
}

fn with_writes(gene: &mut Gene<'_>, schema: &Schema) -> String {
    let id = key(gene);
    match gene.below(4) {
        0 => construct(
            gene,
            "cte update",
            &format!("WITH x AS (UPDATE t SET v = v + 1 WHERE id = {id} RETURNING id, v) SELECT id, v FROM x"),
        ),
        1 => construct(
            gene,
            "cte delete",
            "WITH x AS (DELETE FROM c WHERE id = 1 RETURNING id) SELECT count(*) FROM x",
        ),
        2 if !schema.arbiters.is_empty() => construct(
            gene,
            "cte insert",
            &format!(
                "WITH x AS (INSERT INTO t (id, k, v) VALUES ({id}, {id}, 1) ON CONFLICT DO NOTHING RETURNING id) \
                 SELECT count(*), (SELECT count(*) FROM t) FROM x"
            ),
        ),
        _ => construct(
            gene,
            "update by sub-select",
            "UPDATE t SET v = v + 3 WHERE id = (SELECT id FROM t WHERE v > 5 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, v",
        ),
    }
}

fn advisory(gene: &mut Gene<'_>) -> String {
    gene.construct(&[
        ("advisory lock", "SELECT pg_advisory_lock(1)"),
        ("advisory xact lock", "SELECT pg_advisory_xact_lock(1)"),
        ("advisory shared", "SELECT pg_advisory_lock_shared(1)"),
        ("advisory xact shared", "SELECT pg_advisory_xact_lock_shared(1)"),
        ("try advisory", "SELECT pg_try_advisory_lock(1)"),
        ("try advisory xact", "SELECT pg_try_advisory_xact_lock(1)"),
        ("advisory two keys", "SELECT pg_advisory_xact_lock(0, 1)"),
        ("advisory unlock", "SELECT pg_advisory_unlock(1)"),
        (
            "advisory in where",
            "SELECT id FROM t WHERE id = 1 AND pg_try_advisory_xact_lock(2)",
        ),
    ])
    .to_owned()
}

fn savepoint(gene: &mut Gene<'_>) -> String {
    gene.construct(&[
        ("savepoint", "SAVEPOINT a"),
        ("rollback to", "ROLLBACK TO a"),
        ("release", "RELEASE a"),
        ("savepoint", "SAVEPOINT a"),
        ("rollback to", "ROLLBACK TO a"),
    ])
    .to_owned()
}

fn lock_table(gene: &mut Gene<'_>) -> String {
    gene.construct(&[
        ("lock table share", "LOCK TABLE t IN SHARE MODE"),
        ("lock table exclusive", "LOCK TABLE t IN EXCLUSIVE MODE"),
        ("lock table access exclusive", "LOCK TABLE c IN ACCESS EXCLUSIVE MODE"),
        ("lock table nowait", "LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE NOWAIT"),
        ("lock table row share", "LOCK TABLE t IN ROW SHARE MODE"),
        ("lock table row exclusive", "LOCK TABLE t IN ROW EXCLUSIVE MODE"),
        (
            "lock table share update exclusive",
            "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE",
        ),
    ])
    .to_owned()
}

fn sequence(gene: &mut Gene<'_>) -> String {
    gene.construct(&[
        ("nextval", "SELECT nextval('q')"),
        ("currval", "SELECT currval('q')"),
        ("setval", "SELECT setval('q', 7)"),
        ("nextval", "SELECT nextval('q')"),
        ("now", "SELECT now() = transaction_timestamp()"),
        ("pg_sleep", "SELECT pg_sleep(0) IS NULL"),
    ])
    .to_owned()
}

fn merge(gene: &mut Gene<'_>, schema: &Schema) -> String {
    let _ = schema;
    let id = key(gene);
    gene.cover("merge");
    let matched = gene.pick(&[
        "UPDATE SET v = t.v + 1",
        "UPDATE SET v = t.v + 1",
        "DELETE",
        "DO NOTHING",
    ]);
    format!(
        "MERGE INTO t USING (SELECT {id} AS id) x ON t.id = x.id \
         WHEN MATCHED AND t.v < 25 THEN {matched} WHEN NOT MATCHED THEN INSERT (id, k, v) VALUES (x.id, 9, 1)"
    )
}
