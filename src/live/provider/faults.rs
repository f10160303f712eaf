//! The fault plan: which request of which operation something happens to. `create_intent#2: lost-reply`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::routes::ROUTES;

/// What may happen to a request: one thing to its answer, one to the webhooks that it causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The request never arrives: the connection closes, nothing was done.
    LostRequest,
    /// What was asked is done, and the connection closes without an answer.
    LostReply,
    /// What was asked is done, and no answer comes for as long as the client waits.
    Timeout,
    /// The provider can't be reached for one request: 503, nothing was done, nothing is kept under the key.
    Outage,
    /// It fails before it begins: 500, nothing was done, nothing is kept under the key.
    FailsBefore,
    /// It does what was asked and then fails: 500, which the key gives again from now on.
    FailsAfter,
    /// The webhooks are not sent.
    LostWebhook,
    /// Each of the webhooks is sent twice.
    DuplicateWebhook,
    /// The webhooks are sent in the reverse order.
    ReorderWebhooks,
    /// Each webhook was delivered, or refused once, before the answer goes out.
    WebhookFirst,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 10] = [
        Fault::LostRequest,
        Fault::LostReply,
        Fault::Timeout,
        Fault::Outage,
        Fault::FailsBefore,
        Fault::FailsAfter,
        Fault::LostWebhook,
        Fault::DuplicateWebhook,
        Fault::ReorderWebhooks,
        Fault::WebhookFirst,
    ];

    /// Its word in a plan.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::LostRequest => "lost-request",
            Fault::LostReply => "lost-reply",
            Fault::Timeout => "timeout",
            Fault::Outage => "outage",
            Fault::FailsBefore => "500-before",
            Fault::FailsAfter => "500-after",
            Fault::LostWebhook => "lost-webhook",
            Fault::DuplicateWebhook => "duplicate-webhook",
            Fault::ReorderWebhooks => "reorder-webhooks",
            Fault::WebhookFirst => "webhook-first",
        }
    }

    /// Whether it is about webhooks, not about the answer.
    pub(super) const fn is_of_webhooks(self) -> bool {
        matches!(
            self,
            Fault::LostWebhook | Fault::DuplicateWebhook | Fault::ReorderWebhooks | Fault::WebhookFirst
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    operation: String,
    number: u32,
    fault: Fault,
}

/// Why a line of a plan can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// It does not have the form.
    #[error("`{0}` is no fault: expected OPERATION#N: FAULT, for example `create_intent#2: lost-reply`")]
    Form(String),
    /// There is no such operation.
    #[error("there is no operation `{0}`; there are {all}", all = operations().join(", "))]
    Operation(String),
    /// There is no such fault.
    #[error("there is no fault `{0}`; there are {all}", all = Fault::ALL.map(Fault::name).join(", "))]
    Fault(String),
    /// Two things can't happen at once.
    #[error("{operation}#{number} can't have both {one} and {other}")]
    Both {
        /// The operation.
        operation: String,
        /// Which of its requests.
        number: u32,
        /// What was planned first.
        one: Fault,
        /// And then.
        other: Fault,
    },
}

fn operations() -> Vec<&'static str> {
    ROUTES.iter().map(|route| route.operation).collect()
}

impl FromStr for Planned {
    type Err = BadPlan;

    fn from_str(line: &str) -> Result<Planned, BadPlan> {
        let form = || BadPlan::Form(line.trim().to_owned());
        let (request, fault) = line.split_once(':').ok_or_else(form)?;
        let (operation, number) = request.trim().split_once('#').ok_or_else(form)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(form)?;
        if !operations().contains(&operation) {
            return Err(BadPlan::Operation(operation.to_owned()));
        }
        let known = Fault::ALL.into_iter().find(|known| known.name() == fault.trim());
        Ok(Planned {
            operation: operation.to_owned(),
            number,
            fault: known.ok_or_else(|| BadPlan::Fault(fault.trim().to_owned()))?,
        })
    }
}

/// What happens to which request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan(BTreeMap<(String, u32), Fates>);

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Fates {
    pub(super) answer: Option<Fault>,
    pub(super) webhooks: Option<Fault>,
}

impl Plan {
    /// A plan of these lines.
    ///
    /// # Errors
    /// When two of them are about the answer of one request, or about its webhooks.
    pub fn of(lines: impl IntoIterator<Item = Planned>) -> Result<Plan, BadPlan> {
        let mut plan = Plan::default();
        for Planned {
            operation,
            number,
            fault,
        } in lines
        {
            let fates = plan.0.entry((operation.clone(), number)).or_default();
            let place = match fault.is_of_webhooks() {
                true => &mut fates.webhooks,
                false => &mut fates.answer,
            };
            if let Some(one) = place.replace(fault) {
                return Err(BadPlan::Both {
                    operation,
                    number,
                    one,
                    other: fault,
                });
            }
        }
        Ok(plan)
    }

    /// The lines of a file: one fault each; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// The number of the first line that can't be read, and why.
    pub fn lines(text: &str) -> Result<Vec<Planned>, (usize, BadPlan)> {
        let lines = text.lines().map(str::trim).zip(1..);
        let said = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        said.map(|(line, number)| line.parse().map_err(|reason| (number, reason)))
            .collect()
    }

    pub(super) fn fates(&self, operation: &str, number: u32) -> Fates {
        let key = (operation.to_owned(), number);
        self.0.get(&key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPlan, Fates, Fault, Plan, Planned};

    #[test]
    fn a_plan_is_read_line_by_line() {
        let text = "# the second payment\n\ncreate_intent#2: lost-reply\n create_intent#2 : duplicate-webhook\nrefund#1:500-after";
        let plan = Plan::lines(text).expect("right").into_iter();
        let plan = Plan::of(plan).expect("right");
        let both = Fates {
            answer: Some(Fault::LostReply),
            webhooks: Some(Fault::DuplicateWebhook),
        };
        assert_eq!(plan.fates("create_intent", 2), both);
        assert_eq!(plan.fates("create_intent", 1), Fates::default());
        assert_eq!(plan.fates("refund", 1).answer, Some(Fault::FailsAfter));
    }

    #[test]
    fn a_slip_is_named_with_what_there_is() {
        let slip = |line: &str| line.parse::<Planned>().expect_err("wrong").to_string();
        assert!(slip("create_intent: lost-reply").contains("expected OPERATION#N: FAULT"));
        assert!(slip("create_intent#0: lost-reply").contains("expected OPERATION#N: FAULT"));
        assert!(
            slip("create_intents#1: lost-reply")
                .contains("there is no operation `create_intents`; there are create_customer,")
        );
        assert!(
            slip("create_intent#1: lost").contains("there is no fault `lost`; there are lost-request, lost-reply,")
        );
        let line = |text: &str| text.parse::<Planned>().expect("right");
        let both = Plan::of([line("refund#1: timeout"), line("refund#1: outage")]);
        assert!(matches!(both, Err(BadPlan::Both { .. })));
        assert_eq!(
            Plan::lines("refund#1: timeout\nrefund").map_err(|(line, _)| line),
            Err(2)
        );
    }
}
