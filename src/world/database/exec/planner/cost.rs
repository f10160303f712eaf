//! What the server's planner thinks a way of reading costs (`costsize.c`, `selfuncs.c`), with its default settings.
//!
//! Only what a choice of access path hangs on is here: base tables without statistics, their indexes, and whether a join looks its partners up one by
//! one. Which path is taken shows: a serializable transaction marks what its scan read, the whole table or a part of an index.

const SEQ_PAGE: f64 = 1.0;
const RANDOM_PAGE: f64 = 4.0;
const TUPLE: f64 = 0.01;
const INDEX_TUPLE: f64 = 0.005;
/// `cpu_operator_cost`.
pub(super) const OPERATOR: f64 = 0.0025;

/// How large the planner takes a table or an index to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) pages: f64,
    pub(super) tuples: f64,
}

/// What a path costs, and how many rows it gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) startup: f64,
    pub(super) total: f64,
    pub(super) rows: f64,
}

/// `disable_cost`: what is switched off is taken only where there is no other way.
const DISABLED: f64 = 1e10;

/// Ways of reading a table that are switched off: `enable_seqscan`, `enable_indexscan`, `enable_bitmapscan`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Off {
    pub(crate) scan: bool,
    pub(crate) index: bool,
    pub(crate) bitmap: bool,
}

impl Cost {
    /// The same, or so much that any other way is cheaper.
    pub(super) fn unless(self, off: bool) -> Cost {
        let more = if off { DISABLED } else { 0.0 };
        Cost {
            startup: self.startup + more,
            total: self.total + more,
            rows: self.rows,
        }
    }

    /// With a sort on top, of which `limit` rows are wanted.
    pub(super) fn sorted(self, limit: Option<f64>) -> Cost {
        let tuples = self.rows.max(2.0);
        let compared = match limit {
            Some(limit) if limit > 0.0 && limit * 2.0 < tuples => (2.0 * limit).log2(),
            _ => tuples.log2(),
        };
        let startup = self.total + 2.0 * OPERATOR * tuples * compared;
        Cost {
            startup,
            total: startup + OPERATOR * self.rows,
            rows: self.rows,
        }
    }

    /// Until so many rows have come.
    pub(super) fn limited(self, limit: Option<f64>) -> f64 {
        match limit {
            Some(limit) if self.rows > 0.0 => self.startup + (self.total - self.startup) * (limit / self.rows).min(1.0),
            _ => self.total,
        }
    }
}

/// `clamp_row_est`.
pub(super) fn whole_rows(rows: f64) -> f64 {
    rows.round_ties_even().max(1.0)
}

/// From the first row to the last; `operators` is the cost of the conditions for each row.
pub(super) fn scan(table: Size, operators: f64, rows: f64) -> Cost {
    Cost {
        startup: 0.0,
        total: SEQ_PAGE * table.pages + (TUPLE + operators) * table.tuples,
        rows,
    }
}

/// How an index looks things up, as far as its cost hangs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Btree,
    Hash,
    Gin {
        /// How many keys are looked up.
        keys: u32,
    },
}

/// A look-up in an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookUp {
    pub(super) kind: Kind,
    pub(super) table: Size,
    pub(super) index: Size,
    /// How many conditions it tests, a whole unique key counting as one row.
    pub(super) conditions: f64,
    /// The whole key of a unique index is given.
    pub(super) unique: bool,
    /// The part of the table between the bounds, and the part that all conditions leave.
    pub(super) bounds: f64,
    pub(super) selectivity: f64,
    /// How many times the index is entered: the lengths of its IN lists.
    pub(super) scans: f64,
    /// How many times the whole look-up is made.
    pub(super) loops: f64,
}

impl LookUp {
    /// The index alone (`btcostestimate`, `hashcostestimate`, `gincostestimate`): until the first entry, and to the last.
    pub(super) fn index_cost(&self) -> (f64, f64) {
        if let Kind::Gin { keys } = self.kind {
            // Ten pages are assumed of an index whose statistics VACUUM has not written; one more has what is pending.
            let pages = f64::from(keys) + 1.0;
            let startup = pages * RANDOM_PAGE;
            let found = self.selectivity * self.table.tuples;
            return (
                startup,
                startup + RANDOM_PAGE + found * (INDEX_TUPLE + OPERATOR * self.conditions),
            );
        }
        let mut tuples = match self.unique {
            true => 1.0,
            false => (self.bounds * self.table.tuples / self.scans).round_ties_even(),
        };
        tuples = tuples.min(self.index.tuples).max(1.0);
        let pages = match self.index.pages > 1.0 && self.index.tuples > 1.0 {
            true => (tuples * self.index.pages / self.index.tuples).ceil(),
            false => 1.0,
        };
        let times = self.scans * self.loops;
        let io = match times > 1.0 {
            true => pages_fetched(pages * times, self.index.pages) * RANDOM_PAGE / self.loops,
            false => pages * RANDOM_PAGE,
        };
        let mut total = io + tuples * self.scans * (INDEX_TUPLE + OPERATOR * self.conditions);
        let mut startup = 0.0;
        if self.kind == Kind::Btree {
            let mut descent = 50.0 * OPERATOR;
            if self.index.tuples > 1.0 {
                descent += self.index.tuples.log2().ceil() * OPERATOR;
            }
            startup += descent;
            total += self.scans * descent;
        }
        (startup, total)
    }

    fn found(&self) -> f64 {
        whole_rows(self.selectivity * self.table.tuples)
    }

    /// Entry by entry, in the index's order; `operators` is the cost of the conditions that are left for the rows.
    pub(super) fn plain(&self, operators: f64, rows: f64) -> Cost {
        let (startup, index) = self.index_cost();
        let found = self.found();
        let io = pages_fetched(found * self.loops, self.table.pages) * RANDOM_PAGE / self.loops;
        Cost {
            startup,
            total: index + io + (TUPLE + operators) * found,
            rows,
        }
    }
}

/// What a bitmap index scan, or several of them combined, cost, and the part of the table that they leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits {
    pub(super) cost: f64,
    pub(super) selectivity: f64,
}

impl Bits {
    pub(super) fn of(look_up: &LookUp) -> Bits {
        Bits {
            cost: look_up.index_cost().1 + 0.1 * OPERATOR * look_up.found(),
            selectivity: look_up.selectivity,
        }
    }

    /// Both.
    pub(super) fn and(self, other: Bits) -> Bits {
        Bits {
            cost: self.cost + other.cost + 100.0 * OPERATOR,
            selectivity: self.selectivity * other.selectivity,
        }
    }

    /// Either; `plain` when the second is one index scan.
    pub(super) fn or(self, other: Bits, plain: bool) -> Bits {
        let combined = match plain {
            true => 0.0,
            false => 100.0 * OPERATOR,
        };
        Bits {
            cost: self.cost + other.cost + combined,
            selectivity: (self.selectivity + other.selectivity).min(1.0),
        }
    }

    /// The rows of the table; `operators` is the cost of all conditions, which are tested again.
    pub(super) fn heap(self, table: Size, operators: f64, loops: f64, rows: f64) -> Cost {
        let found = whole_rows(self.selectivity * table.tuples);
        let whole = table.pages.max(1.0);
        let pages = match loops > 1.0 {
            true => pages_fetched(found * loops, table.pages) / loops,
            false => (2.0 * whole * found) / (2.0 * whole + found),
        };
        let pages = match pages >= whole {
            true => whole,
            false => pages.ceil(),
        };
        let each = match pages >= 2.0 {
            true => RANDOM_PAGE - (RANDOM_PAGE - SEQ_PAGE) * (pages / whole).sqrt(),
            false => RANDOM_PAGE,
        };
        Cost {
            startup: self.cost,
            total: self.cost + pages * each + (TUPLE + operators) * found,
            rows,
        }
    }
}

/// `index_pages_fetched`, for what fits into memory.
fn pages_fetched(tuples: f64, pages: f64) -> f64 {
    let pages = pages.max(1.0);
    let fetched = (2.0 * pages * tuples) / (2.0 * pages + tuples);
    match fetched >= pages {
        true => pages,
        false => fetched.ceil(),
    }
}

/// A join whose sides are both read once: by hash, or by merging what was sorted. The least of what the server would reckon.
pub(super) fn whole_join(outer: Cost, inner: Cost, unique: bool) -> f64 {
    let build = (OPERATOR + TUPLE) * inner.rows;
    let bucket = match unique {
        true => 1.0,
        // A tenth of the rows, where nothing is known of how they are spread.
        false => whole_rows(inner.rows * 0.1),
    };
    let hashed = outer.total + inner.total + build + OPERATOR * outer.rows * (1.0 + 0.5 * bucket);
    let merged = outer.sorted(None).total + inner.sorted(None).total + OPERATOR * (outer.rows + inner.rows);
    hashed.min(merged)
}

/// A join that looks up the partners of each outer row.
pub(super) fn look_up_join(outer: Cost, each: Cost) -> f64 {
    outer.total + outer.rows * (each.total + TUPLE * each.rows)
}

#[cfg(test)]
mod tests {
    use super::{Bits, Kind, LookUp, Size, scan};

    /// `create table (id int primary key, k int, v int, s text)`, never analyzed: 1130 rows in ten pages.
    fn look_up(conditions: f64, bounds: f64) -> LookUp {
        let table = Size {
            pages: 10.0,
            tuples: 1130.0,
        };
        LookUp {
            kind: Kind::Btree,
            table,
            index: Size {
                pages: 2.0,
                tuples: 1130.0,
            },
            conditions,
            unique: false,
            bounds,
            selectivity: bounds,
            scans: 1.0,
            loops: 1.0,
        }
    }

    fn shown(cost: f64) -> String {
        format!("{cost:.2}")
    }

    #[test]
    fn costs_are_those_that_explain_prints() {
        let equal = look_up(1.0, 1.0 / 200.0);
        assert_eq!(
            shown(Bits::of(&equal).heap(equal.table, 0.0025, 1.0, 6.0).total),
            "13.67"
        );
        let range = look_up(1.0, 1.0 / 3.0);
        assert_eq!(
            shown(Bits::of(&range).heap(range.table, 0.0025, 1.0, 377.0).total),
            "21.79"
        );
        assert_eq!(shown(look_up(0.0, 1.0).plain(0.0, 1130.0).total), "65.10");
        let mut list = look_up(1.0, 2.0 / 1130.0);
        list.scans = 2.0;
        assert_eq!(shown(Bits::of(&list).heap(list.table, 0.0025, 1.0, 2.0).total), "13.66");
        assert_eq!(shown(scan(range.table, 0.0025, 377.0).total), "24.12");
    }
}
