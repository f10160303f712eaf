//! From the text of a message to its statements.
//!
//! `sqlparser` reads queries, DML and DDL. Transaction control, settings, LOCK TABLE, PREPARE, DO and NOTIFY are read here, because the
//! parser lacks them or parts of them; so are two details of its own statements, which travel through it encoded and come out by
//! [`lock_clause`] (`FOR NO KEY UPDATE`, several tables after OF) and [`conflict_target`] (expressions and a predicate as the
//! arbiter of ON CONFLICT).

mod control;
mod tokens;

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

pub use self::control::{IsolationLevel, LockMode, LockTable, Modes, SettingValue};
use self::tokens::Cursor;
use super::refuse::{BindError, Refused};

/// One statement of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is.
    pub kind: Kind,
    /// Its text, without the semicolon.
    pub text: Arc<str>,
    /// Where it begins in the message: line and column, from 1.
    pub place: (u32, u32),
}

/// The statements the model tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query, DML or DDL, as `sqlparser` reads it.
    Sql(Box<ast::Statement>),
    /// `BEGIN`, `START TRANSACTION`.
    Begin(Modes),
    /// `COMMIT`, `END`.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK TO [SAVEPOINT] name`.
    RollbackTo(Arc<str>),
    /// `SAVEPOINT name`.
    Savepoint(Arc<str>),
    /// `RELEASE [SAVEPOINT] name`.
    Release(Arc<str>),
    /// `SET TRANSACTION ...`, `SET SESSION CHARACTERISTICS AS TRANSACTION ...`.
    SetTransaction {
        /// The modes.
        modes: Modes,
        /// They are the session's default, not this transaction's.
        session: bool,
    },
    /// `SET CONSTRAINTS ALL | names DEFERRED | IMMEDIATE`.
    SetConstraints {
        /// Which; `None` is ALL.
        names: Option<Vec<String>>,
        /// `DEFERRED`.
        deferred: bool,
    },
    /// `SET [LOCAL] name = value`, `SET TIME ZONE`.
    Set {
        /// `LOCAL`: until the end of the transaction.
        local: bool,
        /// The setting, in lower case.
        name: Arc<str>,
        /// The value.
        value: SettingValue,
    },
    /// `RESET ALL`.
    ResetAll,
    /// `SHOW name`.
    Show(Arc<str>),
    /// `LOCK TABLE`.
    Lock(LockTable),
    /// `PREPARE name (types) AS statement`.
    Prepare {
        /// Its name.
        name: Arc<str>,
        /// The declared types of the parameters.
        types: Vec<ast::DataType>,
        /// The statement.
        statement: Box<Statement>,
    },
    /// `EXECUTE name (arguments)`.
    Execute {
        /// Its name.
        name: Arc<str>,
        /// The arguments.
        args: Vec<ast::Expr>,
    },
    /// `DEALLOCATE name`; `None` is ALL.
    Deallocate(Option<Arc<str>>),
    /// `DO $$ ... $$`.
    Do {
        /// The language, `plpgsql` unless said otherwise.
        language: Arc<str>,
        /// The block.
        body: Arc<str>,
    },
    /// `NOTIFY channel, 'payload'`.
    Notify {
        /// The channel.
        channel: Arc<str>,
        /// The payload, empty without one.
        payload: Arc<str>,
    },
    /// `ALTER TABLE table ATTACH PARTITION partition FOR VALUES ...`
    Attach {
        /// The partitioned table.
        table: String,
        /// The table that becomes a partition of it.
        partition: String,
        /// Its bound.
        bound: Box<ast::ForValues>,
    },
    /// `LISTEN channel`.
    Listen(Arc<str>),
    /// `UNLISTEN channel`; `None` is `*`.
    Unlisten(Option<Arc<str>>),
    /// `DISCARD ALL | PLANS | SEQUENCES | TEMP`, with the word in lower case.
    Discard(Arc<str>),
    /// `ANALYZE` and `VACUUM` in all their forms: rows are counted, and no more.
    Maintenance,
}

/// Splits a message into its statements and reads each. Empty statements are left out.
pub fn parse(text: &str) -> Result<Vec<Statement>, Refused> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| {
            Refused::at(
                format!("text that is not SQL: {}", error.message),
                error.location,
                snippet(text, error.location),
            )
        })?;
    if let Some((construct, place)) = tokens::foreign(&tokens) {
        return Err(Refused::at(construct, place, snippet(text, place)));
    }
    let mut statements = Vec::new();
    for piece in tokens.split(|token| token.token == Token::SemiColon) {
        let significant = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
        let (Some(first), Some(last)) = (piece.iter().find(significant), piece.iter().rev().find(significant)) else {
            continue;
        };
        let lines = Lines(text);
        let source = &text[lines.offset(first.span.start)..lines.offset(last.span.end)];
        statements.push(statement(piece, source, text)?);
    }
    Ok(statements)
}

/// Reads one expression, alone in its text.
pub fn parse_expr(text: &str) -> Result<ast::Expr, Refused> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| Refused::at(error.message.clone(), error.location, text))?;
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let expr = parser
        .parse_expr()
        .map_err(|error| syntax(&error.to_string(), &parser, text))?;
    match parser.peek_token().token {
        Token::EOF => Ok(expr),
        _ => Err(syntax("end of expression expected", &parser, text)),
    }
}

/// How a SELECT locks the rows it returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowLock {
    /// The strength.
    pub strength: RowStrength,
    /// The tables after OF; empty is all of them.
    pub of: Vec<String>,
    /// `NOWAIT`, `SKIP LOCKED`.
    pub nonblock: Option<ast::NonBlock>,
}

/// The strength of a locking clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowStrength {
    /// `FOR KEY SHARE`
    KeyShare,
    /// `FOR SHARE`
    Share,
    /// `FOR NO KEY UPDATE`
    NoKeyUpdate,
    /// `FOR UPDATE`
    Update,
}

/// Reads a locking clause of the syntax tree.
pub fn lock_clause(clause: &ast::LockClause) -> Result<RowLock, BindError> {
    let mut strength = match clause.lock_type {
        ast::LockType::Share => RowStrength::Share,
        ast::LockType::Update => RowStrength::Update,
    };
    let mut of = match &clause.of {
        Some(name) => super::names(name)?,
        None => Vec::new(),
    };
    if let Some(mark) = of.first().and_then(|first| first.strip_prefix(tokens::MARK)) {
        strength = match mark {
            "key share" => RowStrength::KeyShare,
            "share" => RowStrength::Share,
            "no key update" => RowStrength::NoKeyUpdate,
            _ => RowStrength::Update,
        };
        of.remove(0);
    }
    Ok(RowLock {
        strength,
        of,
        nonblock: clause.nonblock,
    })
}

/// What ON CONFLICT names as its arbiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arbiter {
    /// Nothing: any unique index.
    Any,
    /// Columns and expressions, and the predicate of a partial index.
    Index {
        /// Columns and expressions.
        keys: Vec<ast::Expr>,
        /// `WHERE`.
        predicate: Option<Box<ast::Expr>>,
    },
    /// `ON CONSTRAINT name`.
    Constraint(String),
}

/// Reads the arbiter of an ON CONFLICT clause of the syntax tree.
pub fn conflict_target(clause: &ast::OnConflict) -> Result<Arbiter, BindError> {
    match &clause.conflict_target {
        None => Ok(Arbiter::Any),
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            Ok(Arbiter::Constraint(super::names(name)?.pop().unwrap_or_default()))
        }
        Some(ast::ConflictTarget::Columns(columns)) => match columns.as_slice() {
            [only] if only.value.starts_with(tokens::MARK) => {
                let mut parts = only.value.trim_start_matches(tokens::MARK).split(tokens::MARK);
                let keys = parts.next().unwrap_or_default();
                let keys = match parse_expr(&format!("ROW({keys})"))? {
                    ast::Expr::Function(call) => tokens::plain_args(call)?,
                    other => return Err(Refused::node("arbiter of ON CONFLICT", &other).into()),
                };
                let predicate = parts.next().map(parse_expr).transpose()?.map(Box::new);
                Ok(Arbiter::Index { keys, predicate })
            }
            _ => Ok(Arbiter::Index {
                keys: columns.iter().cloned().map(ast::Expr::Identifier).collect(),
                predicate: None,
            }),
        },
    }
}

fn statement(piece: &[TokenWithSpan], source: &str, text: &str) -> Result<Statement, Refused> {
    let mut cursor = Cursor::new(piece, text);
    let start = cursor.place();
    let kind = match control::read(&mut cursor)? {
        Some(kind) => kind,
        None => Kind::Sql(Box::new(query(piece, text)?)),
    };
    Ok(Statement {
        kind,
        text: source.into(),
        place: (start.line as u32, start.column as u32),
    })
}

fn query(piece: &[TokenWithSpan], text: &str) -> Result<ast::Statement, Refused> {
    let mut words = piece
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    if let (Some(Token::Word(only)), None) = (words.next().map(|token| &token.token), words.next())
        && only.keyword == Keyword::SELECT
        && let Ok(statement) = nothing_selected()
    {
        return Ok(statement);
    }
    let dialect = PostgreSqlDialect {};
    let mut tokens = tokens::encode(piece);
    if tokens.len() == 1 {
        // SELECT alone, which the parser does not take: one row of no columns
        tokens.extend(tokens::encode(&control::tokenize("WHERE true")?));
    }
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let statement = parser
        .parse_statement()
        .map_err(|error| syntax(&error.to_string(), &parser, text))?;
    match parser.peek_token().token {
        Token::EOF => Ok(statement),
        _ => Err(syntax("end of statement expected", &parser, text)),
    }
}

/// `SELECT` alone, which the parser only knows with a FROM.
fn nothing_selected() -> Result<ast::Statement, sqlparser::parser::ParserError> {
    let dialect = PostgreSqlDialect {};
    let mut statement = Parser::new(&dialect)
        .try_with_sql("SELECT FROM nothing")?
        .parse_statement()?;
    if let ast::Statement::Query(query) = &mut statement
        && let ast::SetExpr::Select(select) = &mut *query.body
    {
        select.from.clear();
    }
    Ok(statement)
}

/// A statement that the parser cannot read: with the place it stopped at.
fn syntax(message: &str, parser: &Parser<'_>, text: &str) -> Refused {
    let place = message
        .rsplit_once(" at Line: ")
        .and_then(|(_, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
        })
        .unwrap_or_else(|| parser.peek_token().span.start);
    let message = message
        .rsplit_once(" at Line: ")
        .map_or(message, |(message, _)| message);
    let message = message.trim_start_matches("sql parser error: ");
    Refused::at(format!("syntax ({message})"), place, snippet(text, place))
}

/// The line a place lies in, from the place on.
fn snippet(text: &str, place: Location) -> String {
    let offset = Lines(text).offset(place);
    let rest = text.get(offset..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default();
    line.chars().take(60).collect()
}

/// Turns lines and columns (in characters) into offsets (in bytes).
struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn offset(&self, place: Location) -> usize {
        if place.line == 0 {
            return 0;
        }
        let mut start = 0;
        for _ in 1..place.line {
            match self.0[start..].find('\n') {
                Some(end) => start += end + 1,
                None => return self.0.len(),
            }
        }
        let columns = (place.column as usize).saturating_sub(1);
        let line = &self.0[start..];
        line.char_indices()
            .nth(columns)
            .map_or(self.0.len(), |(at, _)| start + at)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Arbiter, Kind, LockMode, RowStrength, conflict_target, lock_clause, parse};
    use sqlparser::ast;

    fn kind(text: &str) -> Kind {
        match parse(text) {
            Ok(mut statements) => statements.remove(0).kind,
            Err(refused) => panic!("{text}: {refused}"),
        }
    }

    #[test]
    fn row_locks_keep_their_strength_and_their_tables() {
        let locks = |text: &str| {
            let Kind::Sql(statement) = kind(text) else {
                panic!("not a query")
            };
            let ast::Statement::Query(query) = *statement else {
                panic!("not a query")
            };
            let locks = query.locks.iter().map(|clause| lock_clause(clause).expect("a lock"));
            locks.map(|lock| (lock.strength, lock.of.join("+"))).collect::<Vec<_>>()
        };
        let plain = |strength| vec![(strength, String::new())];
        assert_eq!(locks("SELECT 1 FROM t FOR UPDATE"), plain(RowStrength::Update));
        assert_eq!(
            locks("SELECT 1 FROM t FOR NO KEY UPDATE NOWAIT"),
            plain(RowStrength::NoKeyUpdate)
        );
        assert_eq!(
            locks("SELECT 1 FROM t for share skip locked"),
            plain(RowStrength::Share)
        );
        assert_eq!(locks("SELECT 1 FROM t FOR KEY SHARE"), plain(RowStrength::KeyShare));
        let several = vec![
            (RowStrength::KeyShare, "a+b".to_owned()),
            (RowStrength::Update, "c".to_owned()),
        ];
        assert_eq!(
            locks("SELECT 1 FROM a, b, c FOR KEY SHARE OF a, b FOR UPDATE OF c"),
            several
        );
    }

    #[test]
    fn arbiters_keep_expressions_and_predicates() {
        let target = |clause: &str| {
            let Kind::Sql(statement) = kind(&format!("INSERT INTO t VALUES (1) ON CONFLICT {clause} DO NOTHING"))
            else {
                panic!("not an insert");
            };
            let ast::Statement::Insert(insert) = *statement else {
                panic!("not an insert")
            };
            let Some(ast::OnInsert::OnConflict(conflict)) = insert.on else {
                panic!("no clause")
            };
            match conflict_target(&conflict).expect("a target") {
                Arbiter::Any => "any".to_owned(),
                Arbiter::Constraint(name) => format!("constraint {name}"),
                Arbiter::Index { keys, predicate } => {
                    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                    format!(
                        "{} where {}",
                        keys.join(","),
                        predicate.map(|expr| expr.to_string()).unwrap_or_default()
                    )
                }
            }
        };
        assert_eq!(target(""), "any");
        assert_eq!(target("(a, b)"), "a,b where ");
        assert_eq!(target("(lower(a), b)"), "lower(a),b where ");
        assert_eq!(target("(a) WHERE active AND n > 1"), "a where active AND n > 1");
        assert_eq!(target("ON CONSTRAINT k"), "constraint k");
    }

    #[test]
    fn statements_that_the_parser_lacks_are_read() {
        assert!(
            matches!(kind("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY, DEFERRABLE"),
            Kind::Begin(modes) if modes.read_only == Some(true) && modes.deferrable == Some(true))
        );
        assert!(
            matches!(kind("lock table only public.a*, b in share row exclusive mode nowait"),
            Kind::Lock(lock) if lock.mode == LockMode::ShareRowExclusive && lock.nowait && lock.tables == ["a", "b"])
        );
        assert!(matches!(kind("ROLLBACK TO SAVEPOINT A"), Kind::RollbackTo(name) if &*name == "a"));
        assert!(
            matches!(kind("PREPARE p (int, text) AS SELECT $1 FROM t FOR UPDATE NOWAIT"), Kind::Prepare { types, statement, .. }
            if types.len() == 2 && &*statement.text == "SELECT $1 FROM t FOR UPDATE NOWAIT")
        );
        assert!(matches!(kind("EXECUTE p (1, 'a')"), Kind::Execute { args, .. } if args.len() == 2));
        assert!(matches!(
            kind("SET LOCAL deadlock_timeout = '10ms'"),
            Kind::Set { local: true, .. }
        ));
        assert!(matches!(kind("DO $$ BEGIN END $$"), Kind::Do { .. }));
    }

    #[test]
    fn what_is_not_sql_is_refused_with_its_place() {
        let refused = parse("SELECT 1;\n  SELEC 2").expect_err("not SQL");
        assert_eq!((refused.line, refused.column), (2, 3));
        let refused = parse("SELECT 1 FROM\n t WHERE )").expect_err("not SQL");
        assert_eq!((refused.line, refused.column), (2, 10));
    }

    #[test]
    fn every_statement_of_the_isolation_suite_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/isolation");
        if !root.exists() {
            eprintln!("skipped: no isolation suite beside the repository");
            return;
        }
        let mut failed = Vec::new();
        for folder in ["specs", "own"] {
            for entry in std::fs::read_dir(root.join(folder)).expect("a folder").flatten() {
                if entry.path().extension().is_none_or(|extension| extension != "spec") {
                    continue;
                }
                let text = std::fs::read_to_string(entry.path()).expect("a spec");
                for block in blocks(&text) {
                    if let Err(refused) = parse(block) {
                        failed.push(format!("{}: {refused} at {}", entry.path().display(), refused.text));
                    }
                }
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    /// The texts between braces, comments left out.
    fn blocks(spec: &str) -> Vec<&str> {
        let mut blocks = Vec::new();
        let mut rest = spec;
        while let Some(at) = rest.find(['{', '#']) {
            let comment = rest[at..].starts_with('#');
            let end = rest[at..]
                .find(if comment { '\n' } else { '}' })
                .unwrap_or(rest.len() - at);
            if !comment {
                blocks.push(&rest[at + 1..at + end]);
            }
            rest = &rest[at + end..];
        }
        blocks
    }
}
