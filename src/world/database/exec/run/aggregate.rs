//! GROUP BY and aggregates.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use crate::value::Value;
use crate::world::database::exec::plan::Select;
use crate::world::database::sql::aggregate::{Accumulator, Input};
use crate::world::database::sql::expr::Expr;
use crate::world::database::sql::types::Type;
use crate::world::database::store::Stop;

use super::select::compare_values;
use super::{Cell, Cells, Exec, Frame};

/// The groups of a query while rows come in.
///
/// Departure from Postgres: groups come out sorted by their keys; Postgres hashes small tables, in an order that nobody can rely on.
pub(super) struct Groups<'p> {
    select: &'p Select,
    keys: &'p [(Expr, Type)],
    places: BTreeMap<Vec<Value>, usize>,
    groups: Vec<Group>,
}

struct Group {
    key: Vec<Value>,
    first: Cells,
    states: Vec<(Accumulator, FxHashSet<Vec<Value>>)>,
}

impl<'p> Groups<'p> {
    pub(super) fn new(select: &'p Select, keys: &'p [(Expr, Type)]) -> Self {
        Groups {
            select,
            keys,
            places: BTreeMap::new(),
            groups: Vec::new(),
        }
    }

    /// Adds a row to its group.
    pub(super) fn add(&mut self, exec: &mut Exec<'p>, cells: &Cells, outer: Option<&Frame<'_>>) -> Result<(), Stop> {
        let frame = Frame::new(cells, &self.select.layout, outer);
        let mut key = Vec::with_capacity(self.keys.len());
        for (expr, _) in self.keys {
            key.push(exec.eval(expr, &frame)?);
        }
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                self.places.insert(key.clone(), self.groups.len());
                self.groups.push(self.empty(key, cells.clone()));
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[place];
        for (call, (state, seen)) in self.select.aggregates.iter().zip(&mut group.states) {
            if let Some(filter) = &call.filter
                && !exec.holds(filter, &frame)?
            {
                continue;
            }
            let mut args = Vec::with_capacity(call.args.len());
            for arg in &call.args {
                args.push(exec.eval(arg, &frame)?);
            }
            if call.distinct && !seen.insert(args.clone()) {
                continue;
            }
            let mut keys = Vec::with_capacity(call.order_by.len());
            for key in &call.order_by {
                keys.push(exec.eval(&key.expr, &frame)?);
            }
            state.add(Input { args, keys })?;
        }
        Ok(())
    }

    fn empty(&self, key: Vec<Value>, first: Cells) -> Group {
        let states = self
            .select
            .aggregates
            .iter()
            .map(|call| (Accumulator::new(call), FxHashSet::default()));
        Group {
            key,
            first,
            states: states.collect(),
        }
    }

    /// Each group's first row and the values of its aggregates.
    pub(super) fn finish(mut self, select: &Select) -> Result<Vec<(Cells, Vec<Value>)>, Stop> {
        if self.groups.is_empty() && self.keys.is_empty() {
            let cells = smallvec::smallvec![Cell::default(); select.layout.slots];
            self.groups.push(self.empty(Vec::new(), cells));
        }
        let keys = self.keys;
        self.groups.sort_by(|left, right| {
            let pairs = left.key.iter().zip(&right.key).zip(keys);
            let mut orders = pairs.map(|((left, right), (_, ty))| compare_values(ty, left, right, false));
            orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut finished = Vec::new();
        for group in self.groups {
            let mut values = Vec::new();
            for (state, _) in group.states {
                values.push(state.finish()?);
            }
            finished.push((group.first, values));
        }
        Ok(finished)
    }
}
