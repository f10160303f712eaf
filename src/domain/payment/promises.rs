//! What payments promise.

use std::sync::Arc;

use super::super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SECRETS, NO_SERVER_ERROR, everyone_is_answered, no_deadlock,
    no_secrets, no_server_error,
};
use super::WAREHOUSE;
use crate::domain::Promise;
use crate::system::{Invariant, View, When};
use crate::world::external::External;

const ONE_CHARGE: &str = "an order has at most one captured charge that is not refunded";
const NO_ORPHANED_CHARGE: &str =
    "in the end each captured charge belongs to an order that knows its intent, or is refunded";
const PAID_IS_COMPLETE: &str = "in the end an order whose charge is captured is payment_complete";
const PAID_SHIPPED: &str = "no order is shipped unless its charge is captured and the order is complete in the end";
const ONCE: &str = "in the end each complete order is shipped exactly once";
const FORWARD: &str = "an order that was payment_complete stays so";

pub(super) const PROMISES: &[Promise] = &[
    Promise {
        name: "one-charge-per-order",
        promise: ONE_CHARGE,
    },
    Promise {
        name: "no-orphaned-charge",
        promise: NO_ORPHANED_CHARGE,
    },
    Promise {
        name: "no-paid-order-left-unpaid",
        promise: PAID_IS_COMPLETE,
    },
    Promise {
        name: "no-unpaid-order-shipped",
        promise: PAID_SHIPPED,
    },
    Promise {
        name: "shipped-exactly-once",
        promise: ONCE,
    },
    Promise {
        name: "no-status-goes-backwards",
        promise: FORWARD,
    },
    NO_SECRETS,
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

pub(super) fn all() -> Vec<Arc<dyn Invariant>> {
    vec![
        promise::always(
            "one-charge-per-order",
            ONE_CHARGE,
            "SELECT reference, count(*) FROM provider_charges WHERE captured AND refunded < amount \
             GROUP BY reference HAVING count(*) > 1",
        ),
        promise::finally(
            "no-orphaned-charge",
            NO_ORPHANED_CHARGE,
            "SELECT c.id FROM provider_charges c WHERE c.captured AND c.refunded < c.amount \
             AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = c.reference AND o.intent = c.intent)",
        ),
        promise::finally(
            "no-paid-order-left-unpaid",
            PAID_IS_COMPLETE,
            "SELECT o.id, o.status FROM orders o WHERE o.status <> 'payment_complete' AND EXISTS \
             (SELECT 1 FROM provider_charges c WHERE c.reference = o.id AND c.captured AND c.refunded < c.amount)",
        ),
        promise::check("no-unpaid-order-shipped", PAID_SHIPPED, When::Finally, |view| {
            let shipped = shipped(view);
            let unpaid = "SELECT id FROM orders WHERE status <> 'payment_complete'";
            match view.query(unpaid) {
                Ok(rows) if shipped > 0 && !rows.rows.is_empty() => Err((
                    format!("an order was shipped {shipped} times and is not complete"),
                    Vec::new(),
                )),
                Ok(_) => Ok(()),
                Err(error) => Err((format!("orders can't be read: {error}"), Vec::new())),
            }
        }),
        promise::check("shipped-exactly-once", ONCE, When::Finally, |view| {
            let shipped = shipped(view);
            let complete = "SELECT id FROM orders WHERE status = 'payment_complete'";
            match view.query(complete) {
                Ok(rows) if shipped > 1 || shipped == 0 && !rows.rows.is_empty() => {
                    Err((format!("an order was shipped {shipped} times"), Vec::new()))
                }
                Ok(_) => Ok(()),
                Err(error) => Err((format!("orders can't be read: {error}"), Vec::new())),
            }
        }),
        promise::always(
            "no-status-goes-backwards",
            FORWARD,
            "SELECT id, status FROM orders WHERE completed AND status <> 'payment_complete'",
        ),
        no_secrets(),
        no_server_error(),
        everyone_is_answered(),
        no_deadlock(),
    ]
}

/// How often the warehouse was told to ship, and did.
fn shipped(view: &View<'_>) -> u32 {
    let warehouse = view.service::<External>(WAREHOUSE);
    warehouse.map_or(0, |warehouse| {
        warehouse.calls().map(|(_, _, count)| u32::from(count)).sum()
    })
}
