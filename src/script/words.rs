//! The words of the language, as tables: the parser reads by them, the printer prints by them, the language reference is made from them.

/// A part of a command's form, after its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An expression, as the argument of that name. Two in a row are separated by a comma.
    Value(&'static str),
    /// A bare name, as the argument of that name.
    Name(&'static str),
    /// The bare name of the service.
    Service,
    /// The bare name of the service, and `.operation` when there is one.
    Operation,
    /// `(name: EXPR, ...)`, which may be left out.
    Fields,
    /// A word that may stand there: a flag.
    Flag(&'static str),
    /// `word EXPR`, which may be left out: the word and the argument's name.
    With(&'static str, &'static str),
    /// `word DURATION`, which may be left out: the word and the argument's name.
    Lasting(&'static str, &'static str),
}

/// A command to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The words it begins with.
    pub words: &'static [&'static str],
    /// What follows.
    pub parts: &'static [Part],
    /// The service; empty where the command names it.
    pub service: &'static str,
    /// The operation; empty where the command names it.
    pub operation: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// The columns of its answer.
    pub answer: &'static [&'static str],
    /// A script that shows it.
    pub example: &'static str,
}

/// A step that is not a command to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The word it begins with.
    pub word: &'static str,
    /// How it is written.
    pub syntax: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// A script that shows it.
    pub example: &'static str,
}

const fn form(word: &'static str, syntax: &'static str, doc: &'static str, example: &'static str) -> Form {
    Form {
        word,
        syntax,
        doc,
        example,
    }
}

/// The steps of the language, in the order of the reference.
pub const FORMS: &[Form] = &[
    form(
        "let",
        "let NAME = EXPR;   NAME = EXPR;   NAME := EXPR;",
        "Gives a name to the value of an expression. No step of its own: nothing can happen between it and its neighbours.",
        "let left = 3; left = left - 1;",
    ),
    form(
        "if",
        "if EXPR { ... } else if EXPR { ... } else { ... }",
        "Chooses. NULL counts as false, as in SQL.",
        "let n = 2; if n > 1 { respond 200; } else { respond 409; }",
    ),
    form(
        "while",
        "while EXPR at most N { ... }",
        "Repeats while the condition holds, N times at most; after that it goes on with what follows.",
        "let n = 0; while n < 3 at most 5 { n = n + 1; }",
    ),
    form(
        "loop",
        "loop at most N { ... }",
        "Repeats N times, or until `break`.",
        "loop at most 3 { job := take mail; ack job; }",
    ),
    form(
        "for",
        "for each ROW in RESULT [at most N] { ... }   for NAME in A..B { ... }",
        "Once for each row of a result, or once for each whole number from A to B.",
        "rows := select id from orders; for each row in rows at most 5 { delete from orders where id = :row.id; }",
    ),
    form(
        "break",
        "break;",
        "Leaves the innermost loop.",
        "loop at most 3 { break; }",
    ),
    form(
        "continue",
        "continue;",
        "Goes on with the innermost loop's next round.",
        "loop at most 3 { continue; }",
    ),
    form(
        "return",
        "return;",
        "Ends the process (inside `spawn`: the spawned one; inside `after commit`: the hook). An open transaction is rolled back with the \
         connection. Inside `atomic`, `return EXPR;` gives the block's value.",
        "select 1; return;",
    ),
    form(
        "try",
        "try { ... } catch NAME, NAME as ERROR { ... } finally { ... }",
        "Runs the first block; an error that a catch names is handled there. Names are SQLSTATEs, their names, `timed_out`, `reset`, \
         `unavailable`, codes that a service refuses with, names of `raise`, and `*` for any. The error has `code`, `name`, `message`, `constraint`, `status`. \
         A failed transaction stays failed until `rollback`, as in Postgres.",
        "try { insert into t values (1); } catch unique_violation as e { respond 409 e.message; } finally { sleep 1 ms; }",
    ),
    form(
        "retry",
        "retry N [after DURATION] on NAME, NAME { ... }",
        "Runs the block; on one of the errors rolls back the transaction that was opened inside, and runs it again, N more times at most.",
        "retry 2 on serialization_failure, deadlock_detected { begin isolation level serializable; select 1; commit; }",
    ),
    form(
        "transaction",
        "transaction [isolation level LEVEL] { ... }",
        "`begin`, the block, `commit`; an error inside rolls back and goes on. Leaving by `return`, `break` or `continue` commits.",
        "transaction isolation level repeatable read { select 1; }",
    ),
    form(
        "after",
        "after commit { ... }",
        "Runs the block when the open transaction has been committed, with the values as they are now; at once when none is open; never when it, or the \
         savepoint that the step stands in, is rolled back.",
        "transaction { insert into t values (1); after commit { enqueue mail (order_id: 1); } }",
    ),
    form(
        "spawn",
        "spawn [NAME] { ... }",
        "Starts a process that outlives this one's request, with a copy of the values and a connection of its own.",
        "spawn mailer { call mailgun(to: 'a@example.org'); }",
    ),
    form(
        "sleep",
        "sleep DURATION;   sleep until idle;",
        "Waits in virtual time: `200 ms`, `5 seconds`, `1 minute`, `2 hours`, or an interval. Other processes may take longer than that for anything. `until idle` is \
         for what runs every few minutes for ever (a sweep, a relay): it goes on when nothing else can happen any more.",
        "sleep 5 seconds;",
    ),
    form(
        "send",
        "[NAME :=] send METHOD /path (NAME: EXPR, ...) [headers (NAME: EXPR, ...)] [retry N on NAME, ...];",
        "Sends a request to the process that handles the endpoint and waits for its response: `status`, `body`, and the fields of a body that is an \
         object. No response raises `timed_out` or `reset`.",
        "r := send POST /orders (cart: 7) headers (idempotency-key: 'k1') retry 2 on timed_out, reset; assert r.status = 200;",
    ),
    form(
        "respond",
        "respond STATUS [EXPR];   respond STATUS (NAME: EXPR, ...);",
        "Answers the request; the process goes on. Only the first answer counts.",
        "respond 201 (id: 7);",
    ),
    form(
        "fail",
        "fail [EXPR];",
        "Raises the error `failed` with a message. An error that nothing catches rolls back, answers 500 when the process is a handler, and ends it.",
        "fail 'out of stock';",
    ),
    form(
        "raise",
        "raise NAME [EXPR];",
        "Raises an error of that name.",
        "try { raise sold_out; } catch sold_out { respond 409; }",
    ),
    form(
        "assert",
        "assert EXPR;",
        "Raises `assertion_failed` unless the condition holds.",
        "r := select 1 as one; assert r.one = 1;",
    ),
    form(
        "lock",
        "lock EXPR { ... }",
        "Holds the mutex of that name while the block runs: one inside a process's memory, or a lock service without a lease. A crash frees it.",
        "lock 'cart:1' { select 1; }",
    ),
    form(
        "atomic",
        "[NAME :=] atomic { ... }",
        "Runs cache commands with `if`, `let` and `return EXPR` between them as one step: what is a Lua script or MULTI in life. It sees the values around it; what it gives a name to stays inside. An error ends it and is raised; what it wrote before stays.",
        "let t = 'me'; atomic { v := cache get 'lock'; if v = t { cache del 'lock'; } }",
    ),
];

const fn command(
    words: &'static [&'static str],
    parts: &'static [Part],
    call: (&'static str, &'static str),
    answer: &'static [&'static str],
    doc: &'static str,
    example: &'static str,
) -> Command {
    Command {
        words,
        parts,
        service: call.0,
        operation: call.1,
        doc,
        answer,
        example,
    }
}

/// The commands to services, in the order of the reference. Where two begin alike the longer one is tried first.
pub const COMMANDS: &[Command] = &[
    command(
        &["cache", "get"],
        &[Part::Value("key")],
        ("cache", "get"),
        &["value"],
        "The value of a key, NULL when it has none or the cache evicted it.",
        "v := cache get 'k'; if v is null { respond 404; }",
    ),
    command(
        &["cache", "set"],
        &[
            Part::Value("key"),
            Part::Value("value"),
            Part::Flag("nx"),
            Part::Flag("xx"),
            Part::With("ex", "ex"),
            Part::With("px", "px"),
        ],
        ("cache", "set"),
        &["set"],
        "Sets a key: `nx` only if it has no value, `xx` only if it has one, for `ex` seconds or `px` milliseconds.",
        "got := cache set 'lock:' || 7, 'me' nx ex 30; if not got { respond 409; return; }",
    ),
    command(
        &["cache", "del"],
        &[Part::Value("key"), Part::With("if", "value")],
        ("cache", "del"),
        &["deleted"],
        "Deletes a key; with `if` only while it has that value (compare-and-delete, one step).",
        "cache del 'lock' if 'me';",
    ),
    command(
        &["cache", "incr"],
        &[Part::Value("key"), Part::With("by", "by")],
        ("cache", "incr"),
        &["value"],
        "Adds 1, or `by`, to a number; a key without a value counts as 0. Keeps the key's expiry.",
        "n := cache incr 'hits' by 2; if n > 3 { respond 429; }",
    ),
    command(
        &["cache", "decr"],
        &[Part::Value("key"), Part::With("by", "by")],
        ("cache", "decr"),
        &["value"],
        "Subtracts 1, or `by`.",
        "n := cache decr 'stock'; if n < 0 { respond 409; }",
    ),
    command(
        &["cache", "expire"],
        &[Part::Value("key"), Part::Value("ex")],
        ("cache", "expire"),
        &["set"],
        "Lets a key expire after that many seconds.",
        "cache expire 'hits', 60;",
    ),
    command(
        &["cache", "ttl"],
        &[Part::Value("key")],
        ("cache", "ttl"),
        &["px"],
        "Milliseconds until the key expires; -1 without an expiry, -2 without a value.",
        "t := cache ttl 'hits'; if t < 0 { cache expire 'hits', 60; }",
    ),
    command(
        &["cache", "evict"],
        &[Part::Value("key")],
        ("cache", "evict"),
        &["deleted"],
        "Drops a key as the cache's own eviction does.",
        "cache evict 'session:1';",
    ),
    command(
        &["enqueue"],
        &[
            Part::Name("queue"),
            Part::Fields,
            Part::Lasting("delay", "delay"),
            Part::With("unique", "key"),
        ],
        ("queue", "add"),
        &["job", "added"],
        "Adds a job with a payload, to be taken after `delay`; with `unique` only if no job of that key was ever added.",
        "enqueue mail (order_id: 7) delay 5 seconds unique 'mail:7';",
    ),
    command(
        &["take"],
        &[Part::Name("queue")],
        ("queue", "take"),
        &["job", "attempt"],
        "Waits for a job of the queue and takes it; the answer has its payload's fields beside `job` and `attempt`. It stays hidden from others until \
         `ack`, `nack`, a crash, or the end of the queue's visibility timeout.",
        "job := take mail; ack job;",
    ),
    command(
        &["ack"],
        &[Part::Name("job")],
        ("queue", "ack"),
        &["done"],
        "The job is done. Not `done` when it had been handed to somebody else meanwhile.",
        "job := take mail; ack job;",
    ),
    command(
        &["nack"],
        &[Part::Name("job")],
        ("queue", "fail"),
        &[],
        "The job failed: it is handed out again after the queue's backoff, or is dead when its attempts are used up.",
        "job := take mail; nack job;",
    ),
    command(
        &["provider"],
        &[
            Part::Name("operation"),
            Part::Fields,
            Part::With("key", "idempotency_key"),
        ],
        ("provider", ""),
        &[],
        "Calls the payment provider, with `key` under an idempotency key. A refusal raises its code (`card_declined`); no answer raises `timed_out`, \
         and the charge may have happened. A key whose first request still waits for its answer may raise `idempotency_key_in_use` (409).",
        "p := provider create_intent (amount: 1000, currency: 'eur') key 'order-7';",
    ),
    command(
        &["call"],
        &[Part::Operation, Part::Fields, Part::With("key", "key")],
        ("", ""),
        &[],
        "Calls an external service of the scenario. Each call is recorded in `external_calls`; what it answers, and whether it fails before or after it took \
         effect, the scenario states in `[world.external.NAME]`.",
        "r := call shipping.create(order_id: 7) key 'ship-7';",
    ),
    command(
        &["mail"],
        &[Part::Fields, Part::With("key", "key")],
        ("mail", "send"),
        &[],
        "Sends a mail (`to`, `subject`, `text`); with `key` once however often it is asked for. Seen in the table `mails`.",
        "mail (to: 'a@example.org', subject: 'your order') key 'order-7';",
    ),
    command(
        &["search"],
        &[Part::Name("operation"), Part::Fields],
        ("search", ""),
        &[],
        "Calls the search index: `put (id: ..., text: ..., version: ...)`, `remove (id: ...)`, `find (id: ...)`.",
        "search put (id: 7, text: 'shoes', version: 2);",
    ),
    command(
        &["signal"],
        &[Part::Value("key")],
        ("locks", "signal"),
        &[],
        "Sets a flag that `wait for` waits for: to say in a scenario that one thing comes after another.",
        "signal 'migrated';",
    ),
    command(
        &["wait", "for"],
        &[Part::Value("key")],
        ("locks", "wait"),
        &[],
        "Waits until the flag is set.",
        "wait for 'migrated';",
    ),
    command(
        &["acquire"],
        &[Part::Value("key"), Part::Flag("nowait")],
        ("locks", "acquire"),
        &["acquired"],
        "Takes a mutex, as `lock` does, without giving it back at the end of a block; with `nowait` it does not wait for another holder.",
        "got := acquire 'cart:1' nowait; if got { unlock 'cart:1'; }",
    ),
    command(
        &["unlock"],
        &[Part::Value("key")],
        ("locks", "release"),
        &[],
        "Gives a mutex back.",
        "acquire 'cart:1'; unlock 'cart:1';",
    ),
];

/// A function of expressions that is the script's own, not SQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The operation of the `runtime` service that answers it.
    pub operation: &'static str,
    /// The SQL type of its value.
    pub type_name: &'static str,
    /// What it gives.
    pub doc: &'static str,
}

/// The script's own functions. Asking is no step and cannot fail; each use is asked for before the step it stands in.
pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "now",
        operation: "now",
        type_name: "timestamp with time zone",
        doc: "The application server's clock: the world's virtual time. Reading it is no step and cannot fail; the clock may move on before and after.",
    },
    Function {
        name: "fresh",
        operation: "fresh",
        type_name: "text",
        doc: "A text that nobody else gets: for lock tokens and idempotency keys.",
    },
    Function {
        name: "fresh_uuid",
        operation: "fresh_uuid",
        type_name: "uuid",
        doc: "A UUID that nobody else gets.",
    },
];

/// Names that every script can use in SQL and expressions.
pub const GIVEN: &[(&str, &str)] = &[
    (
        "process",
        "The name of the process, as lanes show it; inside a handler the endpoint.",
    ),
    (
        "instance",
        "The number of the process among those of its section, from 1.",
    ),
    (
        "headers",
        "In a handler: the request's headers, `:headers.idempotency_key` for `Idempotency-Key`.",
    ),
];

/// Words that begin a SQL statement.
pub const SQL_WORDS: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "with",
    "merge",
    "values",
    "table",
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "set",
    "show",
    "reset",
    "create",
    "alter",
    "drop",
    "truncate",
    "notify",
    "listen",
    "unlisten",
    "do",
    "prepare",
    "execute",
    "deallocate",
    "discard",
    "analyze",
    "vacuum",
    "refresh",
    "comment",
    "grant",
    "explain",
];

/// Units of time, with their microseconds.
pub const UNITS: &[(&[&str], i64)] = &[
    (&["ms", "millisecond", "milliseconds"], 1_000),
    (&["s", "second", "seconds"], 1_000_000),
    (&["m", "minute", "minutes"], 60_000_000),
    (&["h", "hour", "hours"], 3_600_000_000),
    (&["day", "days"], 86_400_000_000),
];

/// Errors that are not SQLSTATEs, with what they mean.
pub const FAILURES: &[(&str, &str)] = &[
    (
        "timed_out",
        "No answer of a service or response in time: the work may or may not have been done.",
    ),
    (
        "reset",
        "The other side crashed, or its answer was lost: the work may or may not have been done.",
    ),
    ("unavailable", "The service could not be reached: nothing was done."),
    ("no_answer", "Any of `timed_out`, `reset`, `unavailable`."),
    ("refused", "Any refusal of a service, whatever its code."),
    ("sql_error", "Any SQLSTATE."),
    (
        "connection_lost",
        "The connection to the database broke (08006, 57P01): a statement may or may not have been done.",
    ),
    ("failed", "`fail`."),
    ("assertion_failed", "`assert`."),
];

/// SQLSTATEs by name (Postgres documentation, Appendix A): those that a handler can meet.
pub const SQLSTATES: &[(&str, &str)] = &[
    ("connection_failure", "08006"),
    ("feature_not_supported", "0A000"),
    ("case_not_found", "20000"),
    ("cardinality_violation", "21000"),
    ("string_data_right_truncation", "22001"),
    ("numeric_value_out_of_range", "22003"),
    ("invalid_datetime_format", "22007"),
    ("datetime_field_overflow", "22008"),
    ("division_by_zero", "22012"),
    ("invalid_parameter_value", "22023"),
    ("invalid_text_representation", "22P02"),
    ("integrity_constraint_violation", "23000"),
    ("restrict_violation", "23001"),
    ("not_null_violation", "23502"),
    ("foreign_key_violation", "23503"),
    ("unique_violation", "23505"),
    ("check_violation", "23514"),
    ("exclusion_violation", "23P01"),
    ("active_sql_transaction", "25001"),
    ("read_only_sql_transaction", "25006"),
    ("no_active_sql_transaction", "25P01"),
    ("in_failed_sql_transaction", "25P02"),
    ("invalid_savepoint_specification", "3B001"),
    ("transaction_rollback", "40000"),
    ("serialization_failure", "40001"),
    ("deadlock_detected", "40P01"),
    ("syntax_error", "42601"),
    ("undefined_column", "42703"),
    ("undefined_function", "42883"),
    ("undefined_table", "42P01"),
    ("duplicate_column", "42701"),
    ("duplicate_object", "42710"),
    ("duplicate_table", "42P07"),
    ("datatype_mismatch", "42804"),
    ("object_not_in_prerequisite_state", "55000"),
    ("object_in_use", "55006"),
    ("lock_not_available", "55P03"),
    ("query_canceled", "57014"),
    ("admin_shutdown", "57P01"),
    ("raise_exception", "P0001"),
];

/// The SQLSTATE of a name, or the name's own code.
pub fn sqlstate(name: &str) -> Option<&'static str> {
    SQLSTATES
        .iter()
        .find(|(known, code)| known.eq_ignore_ascii_case(name) || code.eq_ignore_ascii_case(name))
        .map(|(_, code)| *code)
}

/// The name of a SQLSTATE.
pub fn sqlstate_name(code: &str) -> Option<&'static str> {
    SQLSTATES
        .iter()
        .find(|(_, known)| *known == code)
        .map(|(name, _)| *name)
}

/// Every word that a step can begin with.
pub fn starters() -> impl Iterator<Item = &'static str> {
    let forms = FORMS.iter().map(|form| form.word);
    let commands = COMMANDS.iter().filter_map(|command| command.words.first().copied());
    forms.chain(commands).chain(SQL_WORDS.iter().copied())
}
