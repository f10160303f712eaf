//! The statements that are read here rather than by `sqlparser`: transactions, settings, LOCK TABLE, PREPARE, DO, NOTIFY.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::tokens::Cursor;
use super::{Kind, statement, syntax};
use crate::world::database::sql::refuse::Refused;

/// The modes of BEGIN and SET TRANSACTION; what is not said is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Modes {
    /// `ISOLATION LEVEL`.
    pub level: Option<IsolationLevel>,
    /// `READ ONLY` (true) or `READ WRITE`.
    pub read_only: Option<bool>,
    /// `DEFERRABLE` (true) or `NOT DEFERRABLE`.
    pub deferrable: Option<bool>,
}

/// An isolation level as it is written; Postgres treats READ UNCOMMITTED as READ COMMITTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IsolationLevel {
    /// `READ COMMITTED` and `READ UNCOMMITTED`.
    ReadCommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`.
    Serializable,
}

/// The value of a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// `DEFAULT`, and RESET.
    Default,
    /// The values, as text.
    Values(Vec<String>),
}

/// `LOCK [TABLE] names [IN mode MODE] [NOWAIT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockTable {
    /// The tables, folded, without their schema.
    pub tables: Vec<String>,
    /// The mode; ACCESS EXCLUSIVE unless said otherwise.
    pub mode: LockMode,
    /// `NOWAIT`.
    pub nowait: bool,
}

/// The eight table lock modes, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LockMode {
    /// `ACCESS SHARE`
    AccessShare,
    /// `ROW SHARE`
    RowShare,
    /// `ROW EXCLUSIVE`
    RowExclusive,
    /// `SHARE UPDATE EXCLUSIVE`
    ShareUpdateExclusive,
    /// `SHARE`
    Share,
    /// `SHARE ROW EXCLUSIVE`
    ShareRowExclusive,
    /// `EXCLUSIVE`
    Exclusive,
    /// `ACCESS EXCLUSIVE`
    AccessExclusive,
}

/// Reads the statement if it is one of these.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Kind>, Refused> {
    let kind = if cursor.words("BEGIN") {
        let _ = cursor.words("TRANSACTION") || cursor.words("WORK");
        Kind::Begin(modes(cursor)?)
    } else if cursor.words("START TRANSACTION") {
        Kind::Begin(modes(cursor)?)
    } else if cursor.words("COMMIT PREPARED")
        || cursor.words("ROLLBACK PREPARED")
        || cursor.words("PREPARE TRANSACTION")
    {
        return Err(cursor.refuse("two-phase commit"));
    } else if cursor.words("COMMIT") || cursor.words("END") {
        Kind::Commit { chain: chain(cursor) }
    } else if cursor.words("ROLLBACK") || cursor.words("ABORT") {
        rollback(cursor)?
    } else if cursor.words("SAVEPOINT") {
        Kind::Savepoint(cursor.name()?.into())
    } else if cursor.words("RELEASE") {
        let _ = cursor.words("SAVEPOINT");
        Kind::Release(cursor.name()?.into())
    } else if cursor.words("SET") {
        set(cursor)?
    } else if cursor.words("RESET ALL") {
        Kind::ResetAll
    } else if cursor.words("RESET SESSION AUTHORIZATION") {
        return Err(cursor.refuse("SESSION AUTHORIZATION"));
    } else if cursor.words("RESET") {
        Kind::Set {
            local: false,
            name: setting_name(cursor)?,
            value: SettingValue::Default,
        }
    } else if cursor.words("SHOW") {
        Kind::Show(setting_name(cursor)?)
    } else if cursor.words("LOCK") {
        Kind::Lock(lock_table(cursor)?)
    } else if cursor.words("ANALYZE") || cursor.words("ANALYSE") || cursor.words("VACUUM") {
        return Ok(Some(Kind::Maintenance));
    } else if let Some(kind) = attach(cursor)? {
        return Ok(Some(kind));
    } else {
        return session(cursor);
    };
    end(cursor, kind)
}

/// `ALTER TABLE ... ATTACH PARTITION`: the bound is read as that of a CREATE TABLE.
fn attach(cursor: &mut Cursor<'_>) -> Result<Option<Kind>, Refused> {
    let start = cursor.mark();
    if !cursor.words("ALTER TABLE") {
        return Ok(None);
    }
    let _ = cursor.words("ONLY");
    let table = cursor.name()?;
    if !cursor.words("ATTACH PARTITION") {
        cursor.reset(start);
        return Ok(None);
    }
    let partition = cursor.name()?;
    let mut tokens = tokenize("CREATE TABLE x PARTITION OF y")?;
    tokens.retain(|token| token.token != Token::EOF);
    tokens.extend(cursor.rest());
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let read = parser.parse_statement().and_then(|statement| {
        parser.expect_token(&Token::EOF)?;
        Ok(statement)
    });
    match read {
        Ok(ast::Statement::CreateTable(ast::CreateTable {
            for_values: Some(bound),
            ..
        })) => Ok(Some(Kind::Attach {
            table,
            partition,
            bound: Box::new(bound),
        })),
        Ok(_) => Err(cursor.refuse("syntax (FOR VALUES expected)")),
        Err(error) => Err(syntax(&error.to_string(), &parser, cursor.text())),
    }
}

/// The tokens of a text of our own.
pub(super) fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, Refused> {
    let mut tokenizer = Tokenizer::new(&PostgreSqlDialect {}, text);
    tokenizer
        .tokenize_with_location()
        .map_err(|error| Refused::at(error.message.clone(), error.location, text))
}

/// PREPARE, EXECUTE, DO, NOTIFY and their relatives.
fn session(cursor: &mut Cursor<'_>) -> Result<Option<Kind>, Refused> {
    let kind = if cursor.words("PREPARE") {
        return prepare(cursor).map(Some);
    } else if cursor.words("EXECUTE") {
        let name = cursor.name()?.into();
        let args = if cursor.done() { Vec::new() } else { arguments(cursor)? };
        return Ok(Some(Kind::Execute { name, args }));
    } else if cursor.words("DEALLOCATE") {
        let _ = cursor.words("PREPARE");
        match cursor.words("ALL") {
            true => Kind::Deallocate(None),
            false => Kind::Deallocate(Some(cursor.name()?.into())),
        }
    } else if cursor.words("DO") {
        block(cursor)?
    } else if cursor.words("NOTIFY") {
        let channel = cursor.name()?.into();
        let payload = match cursor.token(&Token::Comma) {
            true => string(cursor)?,
            false => "".into(),
        };
        Kind::Notify { channel, payload }
    } else if cursor.words("LISTEN") {
        Kind::Listen(cursor.name()?.into())
    } else if cursor.words("UNLISTEN") {
        match cursor.token(&Token::Mul) {
            true => Kind::Unlisten(None),
            false => Kind::Unlisten(Some(cursor.name()?.into())),
        }
    } else if cursor.words("DISCARD") {
        Kind::Discard(cursor.name()?.into())
    } else {
        return Ok(None);
    };
    end(cursor, kind)
}

fn end(cursor: &Cursor<'_>, kind: Kind) -> Result<Option<Kind>, Refused> {
    match cursor.done() {
        true => Ok(Some(kind)),
        false => Err(cursor.refuse("syntax (end of statement expected)")),
    }
}

fn modes(cursor: &mut Cursor<'_>) -> Result<Modes, Refused> {
    let mut modes = Modes::default();
    while !cursor.done() {
        if cursor.words("ISOLATION LEVEL") {
            modes.level = Some(level(cursor)?);
        } else if cursor.words("READ ONLY") {
            modes.read_only = Some(true);
        } else if cursor.words("READ WRITE") {
            modes.read_only = Some(false);
        } else if cursor.words("NOT DEFERRABLE") {
            modes.deferrable = Some(false);
        } else if cursor.words("DEFERRABLE") {
            modes.deferrable = Some(true);
        } else {
            return Err(cursor.refuse("syntax (transaction mode expected)"));
        }
        let _ = cursor.token(&Token::Comma);
    }
    Ok(modes)
}

fn level(cursor: &mut Cursor<'_>) -> Result<IsolationLevel, Refused> {
    if cursor.words("READ COMMITTED") || cursor.words("READ UNCOMMITTED") {
        Ok(IsolationLevel::ReadCommitted)
    } else if cursor.words("REPEATABLE READ") {
        Ok(IsolationLevel::RepeatableRead)
    } else if cursor.words("SERIALIZABLE") {
        Ok(IsolationLevel::Serializable)
    } else {
        Err(cursor.refuse("syntax (isolation level expected)"))
    }
}

fn chain(cursor: &mut Cursor<'_>) -> bool {
    let _ = cursor.words("TRANSACTION") || cursor.words("WORK");
    let _ = cursor.words("AND NO CHAIN");
    cursor.words("AND CHAIN")
}

fn rollback(cursor: &mut Cursor<'_>) -> Result<Kind, Refused> {
    let chain = chain(cursor);
    if chain || !cursor.words("TO") {
        return Ok(Kind::Rollback { chain });
    }
    let _ = cursor.words("SAVEPOINT");
    Ok(Kind::RollbackTo(cursor.name()?.into()))
}

fn set(cursor: &mut Cursor<'_>) -> Result<Kind, Refused> {
    if cursor.words("SESSION CHARACTERISTICS AS TRANSACTION") {
        let modes = modes(cursor)?;
        return Ok(Kind::SetTransaction { modes, session: true });
    }
    if cursor.words("TRANSACTION SNAPSHOT") {
        return Err(cursor.refuse("exported snapshot"));
    }
    if cursor.words("TRANSACTION") || cursor.words("LOCAL TRANSACTION") {
        let modes = modes(cursor)?;
        return Ok(Kind::SetTransaction { modes, session: false });
    }
    if cursor.words("CONSTRAINTS") {
        return constraints(cursor);
    }
    let local = cursor.words("LOCAL");
    if !local {
        let _ = cursor.words("SESSION");
    }
    let special = [
        ("TIME ZONE", "timezone"),
        ("ROLE", "role"),
        ("NAMES", "client_encoding"),
        ("SCHEMA", "search_path"),
        ("XML OPTION", "xmloption"),
    ];
    for (words, name) in special {
        let mark = cursor.mark();
        if !cursor.words(words) {
            continue;
        }
        if matches!(cursor.peek(), Some(Token::Eq)) || cursor.words("TO") {
            cursor.reset(mark);
            break;
        }
        let value = match cursor.words("LOCAL") {
            true => SettingValue::Default,
            false => values(cursor)?,
        };
        let name = name.into();
        return Ok(Kind::Set { local, name, value });
    }
    if cursor.words("SESSION AUTHORIZATION") || cursor.words("AUTHORIZATION") {
        return Err(cursor.refuse("SESSION AUTHORIZATION"));
    }
    let name = setting_name(cursor)?;
    if !cursor.token(&Token::Eq) && !cursor.words("TO") {
        return Err(cursor.refuse("syntax (TO or = expected)"));
    }
    let value = values(cursor)?;
    Ok(Kind::Set { local, name, value })
}

fn constraints(cursor: &mut Cursor<'_>) -> Result<Kind, Refused> {
    let names = if cursor.words("ALL") {
        None
    } else {
        Some(table_names(cursor)?)
    };
    let deferred = cursor.words("DEFERRED");
    if !deferred && !cursor.words("IMMEDIATE") {
        return Err(cursor.refuse("syntax (DEFERRED or IMMEDIATE expected)"));
    }
    Ok(Kind::SetConstraints { names, deferred })
}

fn setting_name(cursor: &mut Cursor<'_>) -> Result<Arc<str>, Refused> {
    if cursor.words("TIME ZONE") {
        return Ok("timezone".into());
    }
    if cursor.words("TRANSACTION ISOLATION LEVEL") {
        return Ok("transaction_isolation".into());
    }
    let mut name = cursor.open_name()?.to_ascii_lowercase();
    while cursor.token(&Token::Period) {
        name = format!("{name}.{}", cursor.open_name()?.to_ascii_lowercase());
    }
    Ok(name.into())
}

fn values(cursor: &mut Cursor<'_>) -> Result<SettingValue, Refused> {
    if cursor.words("DEFAULT") {
        return Ok(SettingValue::Default);
    }
    let mut values = Vec::new();
    loop {
        let minus = cursor.token(&Token::Minus);
        let value = match cursor.peek() {
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::Number(digits, _)) => digits.clone(),
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
            _ => return Err(cursor.refuse("syntax (value of a setting expected)")),
        };
        cursor.next();
        values.push(if minus { format!("-{value}") } else { value });
        if !cursor.token(&Token::Comma) {
            return Ok(SettingValue::Values(values));
        }
    }
}

fn table_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Refused> {
    let mut tables = Vec::new();
    loop {
        let _ = cursor.words("ONLY");
        let mut name = cursor.name()?;
        while cursor.token(&Token::Period) {
            name = cursor.name()?;
        }
        let _ = cursor.token(&Token::Mul);
        tables.push(name);
        if !cursor.token(&Token::Comma) {
            return Ok(tables);
        }
    }
}

fn lock_table(cursor: &mut Cursor<'_>) -> Result<LockTable, Refused> {
    const MODES: [(&str, LockMode); 8] = [
        ("ACCESS SHARE MODE", LockMode::AccessShare),
        ("ROW SHARE MODE", LockMode::RowShare),
        ("ROW EXCLUSIVE MODE", LockMode::RowExclusive),
        ("SHARE UPDATE EXCLUSIVE MODE", LockMode::ShareUpdateExclusive),
        ("SHARE MODE", LockMode::Share),
        ("SHARE ROW EXCLUSIVE MODE", LockMode::ShareRowExclusive),
        ("EXCLUSIVE MODE", LockMode::Exclusive),
        ("ACCESS EXCLUSIVE MODE", LockMode::AccessExclusive),
    ];
    let _ = cursor.words("TABLE");
    let tables = table_names(cursor)?;
    let mut mode = LockMode::AccessExclusive;
    if cursor.words("IN") {
        let found = MODES.iter().find(|(words, _)| cursor.words(words));
        mode = found.ok_or_else(|| cursor.refuse("syntax (lock mode expected)"))?.1;
    }
    let nowait = cursor.words("NOWAIT");
    Ok(LockTable { tables, mode, nowait })
}

fn prepare(cursor: &mut Cursor<'_>) -> Result<Kind, Refused> {
    let name = cursor.name()?.into();
    let mut types = Vec::new();
    if cursor.token(&Token::LParen) {
        let rest = cursor.rest();
        let dialect = PostgreSqlDialect {};
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(rest.clone());
        let read = parser.parse_comma_separated(Parser::parse_data_type);
        types = read.map_err(|error| syntax(&error.to_string(), &parser, cursor.text()))?;
        while !cursor.done() && !cursor.words("AS") {
            cursor.next();
        }
    } else if !cursor.words("AS") {
        return Err(cursor.refuse("syntax (AS expected)"));
    }
    let rest = cursor.rest();
    if rest.is_empty() {
        return Err(cursor.refuse("syntax (statement expected)"));
    }
    let source = plain_text(&rest, cursor.text());
    let statement = Box::new(statement(&rest, &source, cursor.text())?);
    Ok(Kind::Prepare { name, types, statement })
}

fn plain_text(tokens: &[TokenWithSpan], text: &str) -> String {
    let lines = super::Lines(text);
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => text[lines.offset(first.span.start)..lines.offset(last.span.end)].to_owned(),
        _ => String::new(),
    }
}

fn arguments(cursor: &mut Cursor<'_>) -> Result<Vec<ast::Expr>, Refused> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(cursor.rest());
    let mut read = || {
        parser.expect_token(&Token::LParen)?;
        let args = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
        parser.expect_token(&Token::EOF)?;
        Ok::<_, sqlparser::parser::ParserError>(args)
    };
    read().map_err(|error| syntax(&error.to_string(), &parser, cursor.text()))
}

fn block(cursor: &mut Cursor<'_>) -> Result<Kind, Refused> {
    let mut language: Arc<str> = "plpgsql".into();
    let mut body = None;
    while !cursor.done() {
        if cursor.words("LANGUAGE") {
            language = match cursor.peek() {
                Some(Token::SingleQuotedString(_)) => string(cursor)?,
                _ => cursor.name()?.into(),
            };
        } else {
            body = Some(string(cursor)?);
        }
    }
    let body = body.ok_or_else(|| cursor.refuse("syntax (body of DO expected)"))?;
    Ok(Kind::Do { language, body })
}

fn string(cursor: &mut Cursor<'_>) -> Result<Arc<str>, Refused> {
    let text = match cursor.peek() {
        Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.as_str().into(),
        Some(Token::DollarQuotedString(text)) => text.value.as_str().into(),
        _ => return Err(cursor.refuse("syntax (string expected)")),
    };
    cursor.next();
    Ok(text)
}
