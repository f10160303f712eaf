//! Shipping what is paid: by a relay that sweeps the outbox, or by a worker that takes jobs.

use std::sync::Arc;

use super::super::flow::{Halt, Scene, Story, Told, caught};
use super::{Design, WAREHOUSE};
use crate::machine::Sql;
use crate::machine::service::{Answer, Call};
use crate::value::Value;
use crate::world::queue::Jobs;

/// The queue of shipments.
pub(super) const JOBS: &str = "shipments";

/// The job that ships an order.
pub(super) fn job(order: &str) -> Call {
    Jobs::add(JOBS, [("order", Arc::from(order))])
}

fn ship(order: &str, design: Design) -> Call {
    let call = Call::new(WAREHOUSE, "ship").with("order", order);
    if design.ships_by_key {
        call.with("key", order)
    } else {
        call
    }
}

/// Sweeps the outbox whenever nothing else happens, until it is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Relay {
    pub(super) design: Design,
}

impl Story for Relay {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("resting");
        scene.rest()?;
        scene.at("sweeping");
        match caught(self.sweep(scene))? {
            Ok(0) => Ok(()),
            Ok(_) | Err(_) => scene.again(),
        }
    }
}

impl Relay {
    fn sweep(&self, scene: &mut Scene<'_>) -> Result<usize, Halt> {
        let waiting = scene.run("SELECT order_id FROM outbox WHERE sent = false ORDER BY order_id")??;
        for row in &waiting.rows {
            let [Value::Text(order)] = &row[..] else { continue };
            scene.at("shipping");
            if scene.call(ship(order, self.design))?.is_ok() {
                let update = Sql::new("UPDATE outbox SET sent = true WHERE order_id = $1");
                scene.sql(update.bind(Value::Text(order.clone())))??;
            }
        }
        Ok(waiting.rows.len())
    }
}

/// Takes jobs and ships them, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) design: Design,
}

impl Story for Worker {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("waiting for a job");
        let Ok(answer @ Answer::Ok(_)) = scene.call(Jobs::take(JOBS))? else {
            return scene.again();
        };
        if let (Some(Value::Text(job)), Some(Value::Text(order))) = (answer.get("job"), answer.get("order")) {
            scene.at("shipping");
            match scene.call(ship(order, self.design))? {
                Ok(_) => scene.call(Jobs::ack(JOBS, job))?.ok(),
                Err(_) => scene.call(Jobs::fail(JOBS, job))?.ok(),
            };
        }
        scene.again()
    }
}
