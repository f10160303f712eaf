//! Sub-selects of expressions, and what of them is looked at again after a wait.

use std::sync::Arc;

use crate::value::Value;
use crate::world::database::exec::plan::{Body, Subquery};
use crate::world::database::sql::eval::in_rows;
use crate::world::database::sql::expr::SubqueryKind;
use crate::world::database::store::Stop;

use super::env::Here;
use super::from::Reading;
use super::{Cells, Exec, Flow, Frame, Row, internal};

impl Exec<'_> {
    /// The values of an IN's sub-select that are looked up one by one.
    pub(super) fn listed(&mut self, id: u32, frame: &Frame<'_>) -> Result<Vec<Value>, Stop> {
        let plan = self.plan;
        let Some(subquery) = plan.subqueries.get(id as usize) else {
            return Err(Stop::Error(internal("sub-select")));
        };
        let number = id as usize;
        let rows = Here { exec: self, frame }.subquery_rows(number, subquery, &SubqueryKind::Array)?;
        let mut values: Vec<Value> = rows.iter().filter_map(|row| row.first().cloned()).collect();
        values.retain(|value| !value.is_null());
        values.sort();
        values.dedup();
        Ok(values)
    }
}

impl<'p> Here<'_, 'p, '_> {
    /// The rows of a sub-select, as many as matter.
    pub(super) fn subquery_rows(
        &mut self,
        number: usize,
        subquery: &'p Subquery,
        kind: &SubqueryKind,
    ) -> Result<Arc<[Row]>, Stop> {
        if let Some(Some(rows)) = self.exec.initial.get(number) {
            return Ok(Arc::clone(rows));
        }
        let enough = match kind {
            SubqueryKind::Exists if !subquery.whole => 1,
            SubqueryKind::Scalar => 2,
            _ => usize::MAX,
        };
        let around = std::mem::replace(&mut self.exec.is_whole, subquery.whole);
        let mut rows: Vec<Row> = Vec::new();
        let done = self.exec.query(&subquery.query, Some(self.frame), &mut |_, row| {
            rows.push(row);
            Ok(if rows.len() >= enough { Flow::Enough } else { Flow::More })
        });
        self.exec.is_whole = around;
        done?;
        let rows: Arc<[Row]> = rows.into();
        if !subquery.correlated {
            self.exec.initial[number] = Some(Arc::clone(&rows));
        }
        Ok(rows)
    }

    /// The same in a re-check, where the server has made a join of the sub-select: only the row that the statement found with `first`, the
    /// outer row as it was, is looked at again. NOT EXISTS found none, and finds none now.
    ///
    /// It is found anew here, with the same snapshot. Where several matched, the server's join may have found another one.
    pub(super) fn joined_rows(
        &mut self,
        number: usize,
        subquery: &'p Subquery,
        kind: &SubqueryKind,
        first: &Cells,
    ) -> Result<Arc<[Row]>, Stop> {
        let before = Frame::new(first, self.frame.layout, self.frame.outer);
        if let SubqueryKind::In { left, casts, .. } = kind {
            let rows = self.subquery_rows(number, subquery, kind)?;
            let mut values = Vec::new();
            for expr in left {
                values.push(self.exec.eval(expr, &before)?);
            }
            let settings = self.exec.services.settings();
            for row in rows.iter() {
                if in_rows(&values, std::slice::from_ref(row), casts, settings)? == Some(true) {
                    return Ok([Row::clone(row)].into());
                }
            }
            return Ok(Arc::new([]));
        }
        let Body::Select(select) = &subquery.query.body else {
            return self.subquery_rows(number, subquery, kind);
        };
        let mut reading = Reading {
            layout: &select.layout,
            outer: Some(&before),
            recheck: None,
        };
        let mut found: Option<Cells> = None;
        self.exec.source(select, reading, &mut |_, cells| {
            found = Some(cells.clone());
            Ok(Flow::Enough)
        })?;
        let Some(found) = found else {
            return Ok(Arc::new([]));
        };
        reading.outer = Some(self.frame);
        reading.recheck = Some(&found);
        let mut matches = false;
        self.exec.source(select, reading, &mut |_, _| {
            matches = true;
            Ok(Flow::Enough)
        })?;
        Ok(match matches {
            true => [Row::from(Vec::new())].into(),
            false => Arc::new([]),
        })
    }
}
