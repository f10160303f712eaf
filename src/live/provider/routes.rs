//! The part of the API that is spoken: paths, the operations behind them, and what each takes.

use http::Method;

/// A path with a method.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// Below `/v1/`; a part that begins with `:` is an id, under that name in the call.
    pub(super) path: &'static str,
    /// The provider's operation.
    pub(super) operation: &'static str,
    /// Parameters, and what becomes of them.
    pub(super) takes: &'static [(&'static str, Takes)],
}

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    /// An argument of the call, under this name.
    Argument(&'static str),
    /// An argument that is a whole number of at least 1.
    Number(&'static str),
    /// An argument that is true or false.
    Flag(&'static str),
    /// An argument of the values of a list, with commas between them.
    List(&'static str),
    /// Moments: `created=N` or `created[gte]=N`.
    Moments,
    /// Told of the object as it was given: a text, a map of texts, a list.
    Detail,
    DetailMap,
    DetailList,
    /// Three letters.
    Currency,
    /// Texts, as many and as long as the provider takes.
    Metadata,
    /// Only this says something that the provider does.
    Only(&'static [&'static str]),
    /// Known, and without a meaning here.
    Nothing,
}

use Takes::{Argument, Currency, Detail, DetailList, DetailMap, Flag, List, Metadata, Moments, Nothing, Number, Only};

const EXPAND: (&str, Takes) = ("expand", List("expand"));

const CUSTOMER: &[(&str, Takes)] = &[
    ("address", DetailMap),
    ("description", Detail),
    ("email", Detail),
    ("metadata", Metadata),
    ("name", Detail),
    ("payment_method", Nothing),
    ("phone", Detail),
    ("preferred_locales", Nothing),
    ("shipping", DetailMap),
    ("tax_exempt", Nothing),
    EXPAND,
];

const NEW_INTENT: &[(&str, Takes)] = &[
    ("amount", Number("amount")),
    ("automatic_payment_methods", DetailMap),
    ("capture_method", Argument("capture_method")),
    ("confirm", Flag("confirm")),
    ("confirmation_method", Only(&["automatic"])),
    ("currency", Currency),
    ("customer", Detail),
    ("description", Detail),
    ("metadata", Metadata),
    ("off_session", Nothing),
    ("payment_method", Argument("method")),
    ("payment_method_types", DetailList),
    ("receipt_email", Detail),
    ("return_url", Nothing),
    ("setup_future_usage", Detail),
    ("shipping", DetailMap),
    ("statement_descriptor", Detail),
    ("statement_descriptor_suffix", Nothing),
    ("use_stripe_sdk", Nothing),
    EXPAND,
];

const INTENT: &[(&str, Takes)] = &[
    ("description", Detail),
    ("metadata", Metadata),
    ("receipt_email", Detail),
    ("setup_future_usage", Detail),
    ("shipping", DetailMap),
    ("statement_descriptor", Detail),
    EXPAND,
];

const CONFIRM: &[(&str, Takes)] = &[
    ("off_session", Nothing),
    ("payment_method", Argument("method")),
    ("receipt_email", Nothing),
    ("return_url", Nothing),
    ("setup_future_usage", Nothing),
    ("use_stripe_sdk", Nothing),
    EXPAND,
];

const REFUND: &[(&str, Takes)] = &[
    ("amount", Number("amount")),
    ("charge", Argument("charge")),
    ("metadata", Metadata),
    ("payment_intent", Argument("intent")),
    ("reason", Detail),
    EXPAND,
];

const ONE: &[(&str, Takes)] = &[("client_secret", Nothing), EXPAND];

const MANY: &[(&str, Takes)] = &[
    ("charge", Argument("charge")),
    ("created", Moments),
    ("customer", Argument("customer")),
    ("email", Argument("email")),
    ("ending_before", Argument("ending_before")),
    ("limit", Argument("limit")),
    ("payment_intent", Argument("payment_intent")),
    ("starting_after", Argument("starting_after")),
    EXPAND,
];

const EVENTS: &[(&str, Takes)] = &[
    ("created", Moments),
    ("ending_before", Argument("ending_before")),
    ("limit", Argument("limit")),
    ("starting_after", Argument("starting_after")),
    ("type", Argument("type")),
    ("types", List("type")),
    EXPAND,
];

const fn route(
    method: Method,
    path: &'static str,
    operation: &'static str,
    takes: &'static [(&'static str, Takes)],
) -> Route {
    Route {
        method,
        path,
        operation,
        takes,
    }
}

/// All of them. The last is no path of the provider's: it does what a customer, or time, does there.
pub(super) static ROUTES: &[Route] = &[
    route(Method::POST, "customers", "create_customer", CUSTOMER),
    route(Method::GET, "customers", "list_customers", MANY),
    route(Method::GET, "customers/:customer", "retrieve_customer", ONE),
    route(Method::POST, "customers/:customer", "update_customer", CUSTOMER),
    route(Method::DELETE, "customers/:customer", "delete_customer", &[]),
    route(Method::POST, "payment_intents", "create_intent", NEW_INTENT),
    route(Method::GET, "payment_intents", "list_intents", MANY),
    route(Method::GET, "payment_intents/:intent", "retrieve_intent", ONE),
    route(Method::POST, "payment_intents/:intent", "update_intent", INTENT),
    route(
        Method::POST,
        "payment_intents/:intent/confirm",
        "confirm_intent",
        CONFIRM,
    ),
    route(
        Method::POST,
        "payment_intents/:intent/capture",
        "capture_intent",
        &[EXPAND],
    ),
    route(
        Method::POST,
        "payment_intents/:intent/cancel",
        "cancel_intent",
        &[("cancellation_reason", Nothing), EXPAND],
    ),
    route(Method::GET, "charges", "list_charges", MANY),
    route(Method::GET, "charges/:charge", "retrieve_charge", ONE),
    route(Method::POST, "refunds", "refund", REFUND),
    route(Method::GET, "refunds", "list_refunds", MANY),
    route(Method::GET, "refunds/:refund", "retrieve_refund", ONE),
    route(Method::GET, "events", "list_events", EVENTS),
    route(Method::GET, "events/:event", "retrieve_event", ONE),
    route(
        Method::POST,
        "test_helpers/payment_intents/:intent/resolve",
        "resolve_intent",
        &[("success", Flag("success")), EXPAND],
    ),
];

impl Route {
    /// The ids in a path of this shape, by the names that they have in the call; `None` of another.
    pub(super) fn ids<'a>(&'static self, parts: &[&'a str]) -> Option<Vec<(&'static str, &'a str)>> {
        let own: Vec<&'static str> = self.path.split('/').collect();
        if own.len() != parts.len() {
            return None;
        }
        let mut ids = Vec::new();
        for (own, part) in own.into_iter().zip(parts) {
            match own.strip_prefix(':') {
                Some(name) if !part.is_empty() => ids.push((name, *part)),
                None if own == *part => {}
                _ => return None,
            }
        }
        Some(ids)
    }
}
