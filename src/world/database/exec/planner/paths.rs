//! The ways to read one table, and the one that the server would take.

use std::sync::Arc;

use crate::world::database::exec::catalog::{Index, IndexKey, Method, Table};
use crate::world::database::exec::plan::{Access, Bitmap, IndexAccess, KeySource, Layout};
use crate::world::database::sql::bind::bind_expr;
use crate::world::database::sql::expr::{Comparison, Expr, SortKey};
use crate::world::database::sql::scope::{Relation, Scope};

use super::access::{Slots, implies, is_volatile_call};
use super::cost::{Bits, Cost, Kind, LookUp, Size, scan, whole_rows};
use super::estimate::{Columns, contained_keys, index_size, list_length, operators, size};
use super::{Planner, conjuncts};

/// A table that is to be read, and under which conditions.
pub(super) struct Look<'l> {
    pub(super) table: &'l Arc<Table>,
    /// Where its columns begin in the row.
    pub(super) offset: u16,
    pub(super) layout: &'l Layout,
    pub(super) filter: &'l [Expr],
    /// Relations that were read before it.
    pub(super) outer: Slots,
    /// Whether values of the queries around this one are known.
    pub(super) around: bool,
    /// How often it is read.
    pub(super) loops: f64,
    /// The order that is wanted, and how many rows of it.
    pub(super) order: &'l [SortKey],
    pub(super) limit: Option<f64>,
}

/// A way to read a table.
pub(super) struct Path {
    pub(super) access: Access,
    pub(super) cost: Cost,
    /// Whether rows come in the order that is wanted.
    pub(super) ordered: bool,
}

/// What of an index serves some conditions.
struct Match {
    access: IndexAccess,
    look_up: LookUp,
    /// Places of the conditions that it takes over.
    used: Vec<usize>,
    /// Its keys, bound.
    keys: Vec<Expr>,
    /// How many of them are given by an equality.
    equal: usize,
    ordered: bool,
    /// Whether its entries are restricted at all.
    restricts: bool,
}

impl Planner<'_> {
    /// The cheapest way.
    pub(super) fn best_path(&mut self, look: &Look<'_>) -> Path {
        let table = size(look.table);
        let columns = Columns {
            table: look.table,
            offset: look.offset,
            tuples: table.tuples,
        };
        let parts: Vec<&Expr> = look.filter.iter().collect();
        let rows = whole_rows(columns.all(&parts) * table.tuples);
        let tested: f64 = look.filter.iter().map(operators).sum();
        let wanted = |cost: Cost, ordered: bool| match (look.order.is_empty(), ordered) {
            (true, _) | (_, true) => cost.limited(look.limit),
            _ => cost.sorted(look.limit).limited(look.limit),
        };
        let mut best: Option<(f64, Path)> = None;
        let mut offer = |access: Access, cost: Cost, ordered: bool| {
            let reckoned = wanted(cost, ordered);
            if best.as_ref().is_none_or(|(known, _)| reckoned < *known) {
                best = Some((
                    reckoned,
                    Path {
                        access,
                        cost,
                        ordered: ordered && !look.order.is_empty(),
                    },
                ));
            }
        };
        let mut bits: Vec<(Bits, Bitmap, Vec<usize>)> = Vec::new();
        let off = self.off;
        for index in look.table.indexes.iter().rev() {
            let Some(found) = self.matched(look, index, look.filter, table, &columns) else {
                continue;
            };
            let left: f64 = look
                .filter
                .iter()
                .enumerate()
                .filter(|(place, _)| !found.used.contains(place))
                .map(|(_, part)| operators(part))
                .sum();
            let in_order = match found.look_up.kind {
                Kind::Btree => true,
                // Lists are left to a bitmap.
                Kind::Hash => found.look_up.scans <= 1.0,
                Kind::Gin { .. } => false,
            };
            if in_order {
                offer(
                    Access::Index(found.access.clone()),
                    found.look_up.plain(left, rows).unless(off.index),
                    found.ordered,
                );
            }
            if found.restricts {
                let bit = Bits::of(&found.look_up);
                offer(
                    Access::Bitmap(Bitmap::Index(found.access.clone())),
                    bit.heap(table, tested, look.loops, rows).unless(off.bitmap),
                    false,
                );
                bits.push((bit, Bitmap::Index(found.access), found.used));
            }
        }
        for (place, part) in look.filter.iter().enumerate() {
            if let Expr::Or(arms) = part
                && let Some((bit, bitmap)) = self.either(look, arms, table, &columns)
            {
                offer(
                    Access::Bitmap(bitmap.clone()),
                    bit.heap(table, tested, look.loops, rows).unless(off.bitmap),
                    false,
                );
                bits.push((bit, bitmap, vec![place]));
            }
        }
        for (place, (first, one, used)) in bits.iter().enumerate() {
            for (second, other, also) in &bits[place + 1..] {
                if used.iter().any(|used| also.contains(used)) || also.is_empty() || used.is_empty() {
                    continue;
                }
                let cost = first
                    .and(*second)
                    .heap(table, tested, look.loops, rows)
                    .unless(off.bitmap);
                offer(
                    Access::Bitmap(Bitmap::And(Box::new([one.clone(), other.clone()]))),
                    cost,
                    false,
                );
            }
        }
        let whole = scan(table, tested, rows).unless(self.off.scan);
        let reckoned = wanted(whole, false);
        match best {
            Some((cost, path)) if cost < reckoned => path,
            other => Path {
                access: Access::Scan {
                    by_choice: other.is_some(),
                },
                cost: whole,
                ordered: false,
            },
        }
    }

    /// A bitmap of the rows for which one of several conditions may hold, if an index serves each.
    fn either(&mut self, look: &Look<'_>, arms: &[Expr], table: Size, columns: &Columns<'_>) -> Option<(Bits, Bitmap)> {
        let mut all: Option<Bits> = None;
        let mut parts = Vec::new();
        for arm in arms {
            let mut clauses = Vec::new();
            conjuncts(arm.clone(), &mut clauses);
            let mut best: Option<(Bits, Bitmap)> = None;
            for index in look.table.indexes.iter().rev() {
                let Some(found) = self.matched(look, index, &clauses, table, columns) else {
                    continue;
                };
                // The order alone is no use here.
                if found.used.is_empty() {
                    continue;
                }
                let bit = Bits::of(&found.look_up);
                if best.as_ref().is_none_or(|(known, _)| bit.cost < known.cost) {
                    best = Some((bit, Bitmap::Index(found.access)));
                }
            }
            let (bit, bitmap) = best?;
            all = Some(match all {
                None => bit,
                Some(before) => before.or(bit, true),
            });
            parts.push(bitmap);
        }
        Some((all?, Bitmap::Or(parts.into())))
    }

    fn matched(
        &mut self,
        look: &Look<'_>,
        index: &Index,
        clauses: &[Expr],
        table: Size,
        columns: &Columns<'_>,
    ) -> Option<Match> {
        let names = look
            .table
            .columns
            .iter()
            .map(|column| (Arc::clone(&column.name), column.ty.clone()));
        let mut relation = Relation::new(Arc::clone(&look.table.name), names, 0);
        relation.offset = look.offset;
        let scope = Scope {
            relations: vec![relation],
            ..Scope::default()
        };
        let mut predicate = Vec::new();
        if let Some(condition) = &index.predicate {
            let bound = self
                .plain(
                    "index predicate",
                    |planner| Ok(bind_expr(condition, &scope, planner)?.0),
                )
                .ok()?;
            conjuncts(bound, &mut predicate);
            // What holds for the whole statement holds for an arm of an OR too.
            let known = || look.filter.iter().chain(clauses);
            if !predicate.iter().all(|part| known().any(|known| implies(known, part))) {
                return None;
            }
        }
        let keys: Vec<Expr> = index
            .keys
            .iter()
            .map(|key| match key {
                IndexKey::Column(column) => Some(Expr::Column {
                    depth: 0,
                    index: look.offset + *column as u16,
                }),
                IndexKey::Expression(expr) => {
                    let mut planner = Planner::bare(self.catalog);
                    bind_expr(expr, &scope, &mut planner).ok().map(|(expr, _)| expr)
                }
            })
            .collect::<Option<_>>()?;
        let usable = |expr: &Expr| {
            let mut deep = false;
            expr.walk(&mut |part| deep |= matches!(part, Expr::Column { depth: 1.., .. }));
            !is_volatile_call(expr)
                && (look.around || !deep)
                && self
                    .slots(expr, look.layout)
                    .is_some_and(|slots| slots & !look.outer == 0)
        };
        let found = match index.method {
            Method::Btree => btree(index, &keys, clauses, &usable),
            Method::Hash => hash(index, &keys, clauses, &usable)?,
            Method::Gin => gin(index, &keys, clauses, &usable)?,
            Method::Other => return None,
        };
        let Found {
            access,
            used,
            boundary,
            scans,
            kind,
            equal,
            exact,
        } = found;
        let parts = |places: &[usize]| -> f64 {
            let parts: Vec<&Expr> = places.iter().map(|place| &clauses[*place]).collect();
            // A predicate restricts further, unless the conditions say it already.
            let more = predicate
                .iter()
                .filter(|part| !parts.iter().any(|known| implies(known, part)));
            let all: Vec<&Expr> = parts.iter().copied().chain(more).collect();
            columns.all(&all)
        };
        let complete = index.unique && exact && equal == keys.len() && scans <= 1.0;
        let look_up = LookUp {
            kind,
            table,
            index: index_size(index, look.table),
            conditions: used.len() as f64,
            unique: complete,
            bounds: parts(&boundary),
            selectivity: parts(&used),
            scans,
            loops: look.loops,
        };
        let backward = match index.method {
            Method::Btree => order_of(&keys, equal, look.order, clauses),
            _ => None,
        };
        let ordered = backward.is_some() && scans <= 1.0;
        let restricts = !used.is_empty() || !predicate.is_empty();
        if !restricts && !ordered {
            return None;
        }
        let mut access = access;
        access.backward = backward == Some(true);
        Some(Match {
            access,
            look_up,
            used,
            keys,
            equal,
            ordered,
            restricts,
        })
    }

    /// Index accesses that give the least or greatest value first, for `min(what)` and `max(what)` over a table: the path, if that is cheaper than reading
    /// all there is (`preprocess_minmax_aggregates`).
    pub(super) fn extreme(&mut self, look: &Look<'_>, what: &Expr) -> Option<Path> {
        let table = size(look.table);
        let columns = Columns {
            table: look.table,
            offset: look.offset,
            tuples: table.tuples,
        };
        let parts: Vec<&Expr> = look.filter.iter().collect();
        let rows = whole_rows(columns.all(&parts) * table.tuples);
        let mut best: Option<Path> = None;
        for index in look.table.indexes.iter().rev() {
            let Some(found) = self.matched(look, index, look.filter, table, &columns) else {
                continue;
            };
            let leads =
                found.keys.get(found.equal).is_some_and(|key| key == what) || found.keys[..found.equal].contains(what);
            if !found.ordered || !leads {
                continue;
            }
            let left: f64 = look
                .filter
                .iter()
                .enumerate()
                .filter(|(place, _)| !found.used.contains(place))
                .map(|(_, part)| operators(part))
                .sum();
            let cost = found.look_up.plain(left, rows).unless(self.off.index);
            if best
                .as_ref()
                .is_none_or(|known| cost.limited(Some(1.0)) < known.cost.limited(Some(1.0)))
            {
                best = Some(Path {
                    access: Access::Index(found.access),
                    cost,
                    ordered: true,
                });
            }
        }
        best
    }
}

/// How an index serves some conditions.
struct Found {
    access: IndexAccess,
    used: Vec<usize>,
    boundary: Vec<usize>,
    scans: f64,
    kind: Kind,
    equal: usize,
    /// Every equality is with one value that is not NULL.
    exact: bool,
}

fn empty(index: &Index) -> IndexAccess {
    IndexAccess {
        index: index.id,
        equal: Vec::new(),
        bounds: Vec::new(),
        parts: Vec::new(),
        tests: Vec::new(),
        backward: false,
    }
}

/// Equalities on its first columns and bounds on the next say where to look; conditions on other columns are tested on its entries.
fn btree(index: &Index, keys: &[Expr], clauses: &[Expr], usable: &dyn Fn(&Expr) -> bool) -> Found {
    let mut access = empty(index);
    let (mut used, mut boundary) = (Vec::new(), Vec::new());
    let (mut scans, mut exact, mut leading, mut equal) = (1.0, true, true, 0);
    for key in keys {
        let mut given = false;
        for (place, clause) in clauses.iter().enumerate() {
            if let Some(source) = equality(clause, key, usable) {
                used.push(place);
                if leading && !given {
                    match (&source, clause) {
                        (KeySource::Any(list), _) => scans *= list.len().max(1) as f64,
                        (KeySource::AnyOf(_), Expr::Quantified { array, .. }) => scans *= list_length(array).max(1.0),
                        _ => {}
                    }
                    exact &= matches!(source, KeySource::One(_));
                    boundary.push(place);
                    access.equal.push(source);
                    given = true;
                } else {
                    access.tests.push(clause.clone());
                }
            }
        }
        let bounds: Vec<(usize, (Comparison, Expr))> = clauses
            .iter()
            .enumerate()
            .filter_map(|(place, clause)| Some((place, range(clause, key, usable)?)))
            .collect();
        for (place, bound) in bounds {
            used.push(place);
            if leading && !given {
                boundary.push(place);
                access.bounds.push(bound);
            } else {
                access.tests.push(clauses[place].clone());
            }
        }
        if given {
            equal += usize::from(leading);
        } else {
            leading = false;
        }
    }
    used.sort_unstable();
    used.dedup();
    Found {
        access,
        used,
        boundary,
        scans,
        kind: Kind::Btree,
        equal,
        exact,
    }
}

/// One value of its one column.
fn hash(index: &Index, keys: &[Expr], clauses: &[Expr], usable: &dyn Fn(&Expr) -> bool) -> Option<Found> {
    let mut access = empty(index);
    let key = keys.first()?;
    let sources = clauses
        .iter()
        .enumerate()
        .filter_map(|(place, clause)| Some((place, equality(clause, key, usable)?)));
    let (place, source) = sources
        .into_iter()
        .find(|(_, source)| !matches!(source, KeySource::Null))?;
    let scans = match (&source, &clauses[place]) {
        (KeySource::Any(list), _) => list.len().max(1) as f64,
        (_, Expr::Quantified { array, .. }) => list_length(array).max(1.0),
        _ => 1.0,
    };
    access.equal.push(source);
    Some(Found {
        access,
        used: vec![place],
        boundary: vec![place],
        scans,
        kind: Kind::Hash,
        equal: 1,
        exact: true,
    })
}

/// What asks for keys that are in a value.
fn gin(index: &Index, keys: &[Expr], clauses: &[Expr], usable: &dyn Fn(&Expr) -> bool) -> Option<Found> {
    let mut access = empty(index);
    let (mut used, mut looked_up) = (Vec::new(), 0);
    for (place, clause) in clauses.iter().enumerate() {
        let Expr::Call { func, args } = clause else { continue };
        let Some((_, count)) = contained_keys(*func, args) else {
            continue;
        };
        let of_key = args.first().is_some_and(|first| keys.contains(first));
        if let Some(sought) = args.get(1).filter(|sought| of_key && usable(sought)) {
            access.parts.push(sought.clone());
            used.push(place);
            looked_up += count;
            access.tests.push(clause.clone());
        }
    }
    if used.is_empty() {
        return None;
    }
    Some(Found {
        access,
        boundary: used.clone(),
        used,
        scans: 1.0,
        kind: Kind::Gin { keys: looked_up },
        equal: 0,
        exact: false,
    })
}

/// Whether conditions leave an expression a single value. To order by it is to order by nothing.
pub(super) fn has_one_value(expr: &Expr, clauses: &[Expr]) -> bool {
    clauses.iter().any(|clause| match clause {
        Expr::Compare {
            op: Comparison::Eq,
            left,
            right,
        } => (**left == *expr && right.constant().is_some()) || (**right == *expr && left.constant().is_some()),
        _ => false,
    })
}

/// Whether the index gives the order, and then whether it is read from its end. Columns with one value each count for nothing.
fn order_of(keys: &[Expr], equal: usize, order: &[SortKey], clauses: &[Expr]) -> Option<bool> {
    let fixed = |expr: &Expr| keys[..equal].contains(expr) || has_one_value(expr, clauses);
    let mut next = keys[equal..].iter();
    let mut backward = None;
    for wanted in order.iter().filter(|wanted| !fixed(&wanted.expr)) {
        let key = next.find(|key| !fixed(key))?;
        // NULLs are last, and first from the other end.
        if *key != wanted.expr
            || wanted.descending != wanted.nulls_first
            || *backward.get_or_insert(wanted.descending) != wanted.descending
        {
            return None;
        }
    }
    match order.is_empty() {
        true => None,
        false => Some(backward.unwrap_or(false)),
    }
}

pub(super) fn equality(part: &Expr, key: &Expr, usable: &dyn Fn(&Expr) -> bool) -> Option<KeySource> {
    match part {
        Expr::Compare {
            op: Comparison::Eq,
            left,
            right,
        } => {
            if **left == *key && usable(right) {
                Some(KeySource::One((**right).clone()))
            } else if **right == *key && usable(left) {
                Some(KeySource::One((**left).clone()))
            } else {
                None
            }
        }
        Expr::In {
            expr,
            list,
            negated: false,
        } if **expr == *key && list.iter().all(usable) => Some(KeySource::Any(list.to_vec())),
        Expr::Quantified {
            op: Comparison::Eq,
            left,
            array,
            all: false,
        } if **left == *key && usable(array) => Some(KeySource::AnyOf((**array).clone())),
        Expr::IsNull { expr, negated: false } if **expr == *key => Some(KeySource::Null),
        _ => None,
    }
}

pub(super) fn range(part: &Expr, key: &Expr, usable: &dyn Fn(&Expr) -> bool) -> Option<(Comparison, Expr)> {
    let (op, left, right) = match part {
        Expr::Compare { op, left, right } if !matches!(op, Comparison::Eq | Comparison::Ne) => (*op, &**left, &**right),
        // The first column decides, up to equality of it.
        Expr::RowCompare { op, left, right } if !matches!(op, Comparison::Eq | Comparison::Ne) => {
            let op = match op {
                Comparison::Gt => Comparison::Ge,
                Comparison::Lt => Comparison::Le,
                other => *other,
            };
            (op, left.first()?, right.first()?)
        }
        _ => return None,
    };
    if *left == *key && usable(right) {
        Some((op, right.clone()))
    } else if *right == *key && usable(left) {
        Some((op.swapped(), left.clone()))
    } else {
        None
    }
}
