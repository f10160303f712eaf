//! SQL and expressions: text with `$n` in place of the script's values.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use sqlparser::ast::{self, visit_expressions};

use super::{Compiler, Statement};
use crate::script::ast::{Code, Name, Param, Piece, PieceKind};
use crate::script::bound::Typed;
use crate::script::code::{Cast, Control, Op};
use crate::script::error::Problem;
use crate::script::expr::{Expr, Mistake, Operand, SqlExpr};
use crate::script::words::{FUNCTIONS, Function};
use crate::value::Value;
use crate::world::database::sql::func::function_names;
use crate::world::database::sql::parse::parse_expr;
use crate::world::database::sql::types::Type;

/// The service that answers the script's own functions.
const RUNTIME: &str = "runtime";

impl Compiler<'_> {
    pub(super) fn sql(&mut self, bind: &Option<Name>, sql: &Code) {
        let mut text = String::new();
        let mut origins = Vec::new();
        let mut params: Vec<Operand> = Vec::new();
        let mut casts = Vec::new();
        for (place, piece) in sql.pieces.iter().enumerate() {
            if place > 0 && piece.spaced {
                text.push(' ');
            }
            origins.push((text.len(), piece.span.start));
            match &piece.kind {
                PieceKind::Text(own) | PieceKind::Word(own) => text.push_str(own),
                PieceKind::Param(param) => {
                    let operand = self.operand(param, &piece.span);
                    let number = number_of(&mut params, operand);
                    text.push_str(&format!("${number}"));
                    let always = meets_another(&sql.pieces[place + 1..]);
                    if always || is_summand(&sql.pieces, place) {
                        casts.push(Cast {
                            behind: text.len(),
                            param: number - 1,
                            always,
                        });
                    }
                }
            }
        }
        let control = control(&text);
        if control == Control::Begin
            && let Some(level) = &self.setting.isolation
            && !text.to_ascii_lowercase().contains("isolation")
        {
            text.push_str(&format!(" isolation level {level}"));
        }
        let text: Arc<str> = text.into();
        self.statements.push(Statement {
            text: text.clone(),
            span: sql.span.clone(),
            origins,
            caught: self.caught.clone(),
            is_cast: !casts.is_empty(),
        });
        if let Some(name) = bind {
            let columns = output_columns(&text);
            // A name that is bound twice has the columns of both.
            let known = self.names.columns.remove(&name.text);
            let columns = match known {
                None => columns,
                Some(None) => None,
                Some(Some(known)) => columns.map(|columns| known.into_iter().chain(columns).collect()),
            };
            self.names.columns.insert(name.text.clone(), columns);
        }
        let bind = self.bound(bind);
        self.emit(Op::Sql {
            text,
            params,
            casts,
            bind,
            control,
        });
    }

    /// A value of the script, read here.
    pub(super) fn operand(&mut self, param: &Param, span: &Range<usize>) -> Operand {
        let slot = self.names.read(param, span, self.problems);
        if let (Some(field), Some(Some(columns))) = (&param.field, self.names.columns.get(&param.name))
            && !columns.contains(field)
            && !RESULT_FIELDS.contains(&field.as_str())
        {
            let known = columns.iter().map(String::as_str).chain(RESULT_FIELDS.iter().copied());
            let problem = Problem::new(format!("`{}` has no column `{field}`", param.name), span.clone())
                .label(format!("it has {}", columns.join(", ")))
                .nearest(field, known);
            self.problems.push(problem);
        }
        self.warn_of_hidden(param, span);
        let flattened = self.names.outer.is_some()
            && self
                .names
                .all()
                .get(usize::from(slot))
                .is_some_and(|name| **name != *param.name);
        Operand {
            slot,
            name: param.name.as_str().into(),
            field: param.field.as_deref().filter(|_| !flattened).map(Arc::from),
            all: param.all && !flattened,
        }
    }

    /// Warns of a name that means something else than it seems to.
    fn warn_of_hidden(&mut self, param: &Param, span: &Range<usize>) {
        let Param { name, field, all } = param;
        if let (Some(field), Some(endpoint)) = (field, self.names.responses.get(name))
            && matches!(field.as_str(), "status" | "body")
            && self
                .setting
                .replies
                .get(endpoint)
                .is_some_and(|fields| fields.contains(field))
        {
            let what = if field == "status" {
                "the HTTP status"
            } else {
                "the whole body"
            };
            let message = format!("`{name}.{field}` is {what}, not the field `{field}` that `{endpoint}` answers with");
            let help = format!(
                "the field is `(:{name}.body::jsonb ->> '{field}')`; or give it another name where it is answered"
            );
            self.problems.push(Problem::warning(message, span.clone()).help(help));
        }
        if field.is_none()
            && !all
            && let Some(what) = self.names.hidden(name)
        {
            let message = format!("`{name}` is here the result that a step before gave this name, not {what} `{name}`");
            let help = match what {
                "the request's field" => format!("give the result another name; `request.{name}` is still the field"),
                _ => "give the result another name".to_owned(),
            };
            self.problems.push(Problem::warning(message, span.clone()).help(help));
        }
    }

    /// An expression. The script's own functions in it are asked for before it.
    pub(super) fn expr(&mut self, code: &Code) -> Expr {
        if let Some(literal) = literal(code) {
            return Expr::Const(literal);
        }
        let pieces = self.functions(&code.pieces);
        let mut text = String::new();
        let mut operands: Vec<Operand> = Vec::new();
        let mut place = 0;
        while let Some(piece) = pieces.get(place) {
            if place > 0 && piece.spaced {
                text.push(' ');
            }
            let taken = match &piece.kind {
                PieceKind::Param(param) => Some((self.operand(param, &piece.span), 1)),
                PieceKind::Word(_) => self.bare(&pieces, place),
                PieceKind::Text(_) => None,
            };
            match taken {
                Some((operand, count)) => {
                    let number = number_of(&mut operands, operand);
                    text.push_str(&format!("${number}"));
                    place += count;
                }
                None => {
                    if let PieceKind::Text(own) | PieceKind::Word(own) = &piece.kind {
                        text.push_str(own);
                    }
                    place += 1;
                }
            }
        }
        if text == "$1"
            && let Some(operand) = operands.first()
        {
            return Expr::Operand(operand.clone());
        }
        self.read(code, text, operands)
    }

    fn read(&mut self, code: &Code, text: String, operands: Vec<Operand>) -> Expr {
        let tree = match parse_expr(&text) {
            Ok(tree) => tree,
            Err(refused) => {
                let problem = Problem::new(
                    format!("this is not an expression: {}", refused.construct),
                    code.span.clone(),
                );
                self.problems.push(problem);
                return Expr::Const(Typed::NULL);
            }
        };
        let known = self.problems.len();
        self.strangers(&tree, code);
        self.texts_in_order(&tree, &operands, code);
        let expr = SqlExpr {
            text,
            tree,
            operands,
            bound: Mutex::new(Vec::new()),
        };
        if self.problems.len() == known
            && let Some(mistake) = expr.mistake()
        {
            self.mistaken(mistake, code);
        }
        Expr::Sql(Arc::new(expr))
    }

    /// A bare name (`x`, `x.column`, `x.column[]`) that a step or a parameter gives, and how many pieces it takes.
    fn bare(&mut self, pieces: &[Piece], place: usize) -> Option<(Operand, usize)> {
        let text = |ahead: usize| match pieces.get(place + ahead).map(|piece| &piece.kind) {
            Some(PieceKind::Text(text) | PieceKind::Word(text)) => text.as_str(),
            _ => "",
        };
        let name = text(0).to_owned();
        let after_dot = place > 0 && matches!(&pieces[place - 1].kind, PieceKind::Text(text) if text == ".");
        if after_dot || text(1) == "(" {
            return None;
        }
        let outside = self.names.outer.is_some() && self.setting.params.contains(&name);
        if !self.names.is_known(&name) && !outside {
            return None;
        }
        let mut count = 1;
        let mut param = Param {
            name,
            field: None,
            all: false,
        };
        if text(1) == "." && matches!(pieces.get(place + 2).map(|piece| &piece.kind), Some(PieceKind::Word(_))) {
            param.field = Some(text(2).to_owned());
            count = 3;
        }
        if text(count) == "[" && text(count + 1) == "]" {
            param.all = true;
            count += 2;
        }
        let span = pieces[place].span.start..pieces[place + count - 1].span.end;
        Some((self.operand(&param, &span), count))
    }

    /// Names in an expression that are neither values nor parts of SQL.
    fn strangers(&mut self, tree: &ast::Expr, code: &Code) {
        let mut found: Vec<String> = Vec::new();
        let mut refused = None;
        let _ = visit_expressions(tree, |expr| {
            match expr {
                ast::Expr::Identifier(ident) => found.push(ident.value.clone()),
                ast::Expr::CompoundIdentifier(parts) => found.extend(parts.first().map(|part| part.value.clone())),
                ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => {
                    refused = Some("a sub-select");
                }
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        for name in found {
            let piece = code.pieces.iter().find(|piece| match &piece.kind {
                PieceKind::Word(word) => word.eq_ignore_ascii_case(&name),
                PieceKind::Text(text) => text.trim_matches('"') == name,
                PieceKind::Param(_) => false,
            });
            let span = piece.map_or(code.span.clone(), |piece| piece.span.clone());
            let candidates = self.names.candidates();
            let problem = Problem::new(format!("unknown name `{name}`"), span)
                .label("no step gives it a value, and it is no parameter of the process")
                .nearest(&name, candidates.iter().map(String::as_str));
            self.problems.push(problem);
        }
        if let Some(what) = refused {
            let problem = Problem::new(format!("{what} cannot stand in an expression"), code.span.clone())
                .help("give its result a name first: `x := select ...;`");
            self.problems.push(problem);
        }
    }

    /// Warns of two texts of which one must be the smaller: `'13' < '5'`.
    fn texts_in_order(&mut self, tree: &ast::Expr, operands: &[Operand], code: &Code) {
        use ast::BinaryOperator as Op;
        let text = |expr: &ast::Expr| -> Option<String> {
            let mut expr = expr;
            while let ast::Expr::Nested(inner) = expr {
                expr = inner;
            }
            let ast::Expr::Value(value) = expr else { return None };
            match &value.value {
                ast::Value::Placeholder(number) => {
                    let number: usize = number.strip_prefix('$')?.parse().ok()?;
                    let operand = operands.get(number.checked_sub(1)?)?;
                    let field = operand.field.as_ref().map(|field| format!(".{field}"));
                    let is_value = field.is_none()
                        || matches!(&*operand.name, "headers" | "request")
                        || field.as_deref() == Some(".value");
                    let shown = format!("{}{}", operand.name, field.unwrap_or_default());
                    (is_value && !operand.all && self.names.is_text(&operand.name)).then_some(shown)
                }
                ast::Value::SingleQuotedString(text) if text.trim().parse::<f64>().is_ok() => Some(format!("'{text}'")),
                _ => None,
            }
        };
        let mut found = None;
        let _ = visit_expressions(tree, |expr| {
            let pair = match expr {
                ast::Expr::BinaryOp {
                    left,
                    op: Op::Lt | Op::LtEq | Op::Gt | Op::GtEq,
                    right,
                } => text(left).zip(text(right)),
                ast::Expr::Between { expr, low, high, .. } => text(expr).zip(text(low).or_else(|| text(high))),
                _ => None,
            };
            if let Some((left, right)) = pair {
                found = Some((left, right));
            }
            ControlFlow::<()>::Continue(())
        });
        if let Some((left, right)) = found {
            let message =
                format!("`{left}` and `{right}` are compared as texts, letter by letter: '13' is smaller than '5'");
            let problem = Problem::warning(message, code.span.clone())
                .label("values of the cache and fields of a request are texts")
                .help(format!(
                    "to compare them as numbers: `{left}::bigint`, `{right}::bigint`"
                ));
            self.problems.push(problem);
        }
    }

    /// Asks for the value of one of the script's own functions.
    pub(super) fn ask(&mut self, name: &str, function: &Function) {
        let slot = self.names.slot(name);
        self.emit(Op::Call {
            service: RUNTIME.into(),
            operation: function.operation.into(),
            arguments: Vec::new(),
            bind: Some(slot),
        });
        self.names.give(name);
    }

    /// Replaces calls of the script's own functions by the name of a value that is asked for before.
    /// An expression that can't be evaluated, whatever its values.
    fn mistaken(&mut self, mistake: Mistake, code: &Code) {
        let piece = mistake.word.as_deref().and_then(|word| {
            let is_it = |piece: &&Piece| matches!(&piece.kind, PieceKind::Word(own) if own.eq_ignore_ascii_case(word));
            code.pieces.iter().find(is_it)
        });
        let span = piece.map_or(code.span.clone(), |piece| piece.span.clone());
        let mut problem = Problem::new(mistake.message, span);
        if let Some(help) = mistake.help {
            problem = problem.help(help);
        } else if let Some(word) = &mistake.word {
            let own = FUNCTIONS.iter().map(|function| function.name);
            problem = problem.nearest(word, function_names().chain(own));
        }
        self.problems.push(problem);
    }

    /// Replaces calls of the script's own functions by the name of a value that a step before asks the world for.
    fn functions(&mut self, pieces: &[Piece]) -> Vec<Piece> {
        let mut all: Vec<Piece> = Vec::new();
        let mut place = 0;
        while let Some(piece) = pieces.get(place) {
            let is = |ahead: usize, wanted: &str| matches!(pieces.get(place + ahead).map(|piece| &piece.kind), Some(PieceKind::Text(text)) if text == wanted);
            let function = match &piece.kind {
                PieceKind::Word(word) if is(1, "(") && is(2, ")") => FUNCTIONS
                    .iter()
                    .find(|function| function.name.eq_ignore_ascii_case(word)),
                _ => None,
            };
            match function {
                Some(function) => {
                    let mut name = format!("{}()", function.name);
                    if self.atomic {
                        name = format!("{name} {}", piece.span.start);
                        if function.operation != "now" && self.in_a_loop() {
                            let message = format!("`{}()` in a loop of an atomic block", function.name);
                            let problem = Problem::new(message, piece.span.clone())
                                .label("it is asked for once, before the block begins")
                                .help("let the loop stand around `atomic`");
                            self.problems.push(problem);
                        }
                        self.asked.push((name.clone(), function));
                    } else {
                        self.ask(&name, function);
                    }
                    all.push(Piece {
                        kind: PieceKind::Param(Param {
                            name,
                            field: None,
                            all: false,
                        }),
                        span: piece.span.clone(),
                        spaced: piece.spaced,
                    });
                    place += 3;
                }
                None => {
                    all.push(piece.clone());
                    place += 1;
                }
            }
        }
        all
    }

    pub(super) fn constant(value: impl Into<Value>) -> Expr {
        Expr::Const(Typed::plain(value.into()))
    }
}

/// What every result has beside its columns.
const RESULT_FIELDS: [&str; 4] = ["count", "rows", "found", "affected"];

/// Whether an operator and another value of the script follow: the server could not tell the types of two parameters from each other.
fn meets_another(pieces: &[Piece]) -> bool {
    let is_operator = |piece: &&Piece| matches!(&piece.kind, PieceKind::Text(text) if text.chars().all(|letter| "+-*/%<>=".contains(letter)));
    let operators = pieces.iter().take_while(is_operator).count();
    operators > 0
        && matches!(
            pieces.get(operators).map(|piece| &piece.kind),
            Some(PieceKind::Param(_))
        )
}

/// Whether a value of the script stands beside `+` or `-`.
fn is_summand(pieces: &[Piece], place: usize) -> bool {
    let is_sign = |piece: Option<&Piece>| matches!(piece.map(|piece| &piece.kind), Some(PieceKind::Text(text)) if matches!(text.as_str(), "+" | "-"));
    is_sign(pieces.get(place + 1)) || place.checked_sub(1).is_some_and(|before| is_sign(pieces.get(before)))
}

fn number_of(operands: &mut Vec<Operand>, operand: Operand) -> usize {
    match operands.iter().position(|known| *known == operand) {
        Some(place) => place + 1,
        None => {
            operands.push(operand);
            operands.len()
        }
    }
}

/// A number, a string, `true`, `false` or `null`, alone.
fn literal(code: &Code) -> Option<Typed> {
    let [piece] = code.pieces.as_slice() else {
        return None;
    };
    let typed = |value: Value, ty: Type| Some(Typed { value, ty });
    match &piece.kind {
        PieceKind::Text(text) => {
            if let Ok(number) = text.parse::<i64>() {
                let ty = if i32::try_from(number).is_ok() {
                    Type::Int4
                } else {
                    Type::Int8
                };
                return typed(Value::Int(number), ty);
            }
            let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
            typed(Value::text(inner.replace("''", "'")), Type::Unknown)
        }
        PieceKind::Word(word) => match word.to_ascii_lowercase().as_str() {
            "true" => typed(Value::Bool(true), Type::Bool),
            "false" => typed(Value::Bool(false), Type::Bool),
            "null" => Some(Typed::NULL),
            _ => None,
        },
        PieceKind::Param(_) => None,
    }
}

fn control(text: &str) -> Control {
    let words: Vec<String> = text
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .take(3)
        .map(str::to_ascii_lowercase)
        .collect();
    let word = |place: usize| words.get(place).map(String::as_str).unwrap_or_default();
    match word(0) {
        "begin" => Control::Begin,
        "start" if word(1) == "transaction" => Control::Begin,
        "commit" | "end" => Control::Commit,
        "savepoint" => Control::Savepoint(last_name(text)),
        "release" => Control::Release(last_name(text)),
        "rollback" | "abort" if word(1) == "to" || word(2) == "to" => Control::RollbackTo(last_name(text)),
        "rollback" | "abort" => Control::Rollback,
        _ => Control::Plain,
    }
}

/// The name that a statement ends with, as the server reads it: folded unless it is quoted.
fn last_name(text: &str) -> Arc<str> {
    let text = text.trim_end().trim_end_matches(';').trim_end();
    let quoted = text.strip_suffix('"').and_then(|rest| {
        // A quote in the name is doubled, so the first single one from behind opens it.
        let doubled = rest.replace("\"\"", "\u{0}\u{0}");
        Some(rest[doubled.rfind('"')? + 1..].replace("\"\"", "\""))
    });
    match quoted {
        Some(name) => name.into(),
        None => text
            .rsplit(char::is_whitespace)
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .into(),
    }
}

/// The names of a statement's result columns, where they can be read from its text.
fn output_columns(text: &str) -> Option<Vec<String>> {
    use sqlparser::ast::{SelectItem, SetExpr, Statement as Sql};
    let mut statements = crate::world::database::sql::parse::parse(text).ok()?;
    let crate::world::database::sql::parse::Kind::Sql(statement) = statements.pop()?.kind else {
        return None;
    };
    let items: Vec<SelectItem> = match *statement {
        Sql::Query(query) => match *query.body {
            SetExpr::Select(select) => select.projection,
            _ => return None,
        },
        Sql::Insert(insert) => insert.returning?,
        Sql::Update(update) => update.returning?,
        Sql::Delete(delete) => delete.returning?,
        _ => return None,
    };
    let names = items.iter().map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(crate::world::database::sql::fold(alias)),
        SelectItem::UnnamedExpr(ast::Expr::Identifier(ident)) => Some(crate::world::database::sql::fold(ident)),
        SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts)) => {
            parts.last().map(crate::world::database::sql::fold)
        }
        SelectItem::UnnamedExpr(expr) => Some(crate::world::database::sql::bind::output_name(expr).to_string()),
        _ => None,
    });
    names.collect()
}
