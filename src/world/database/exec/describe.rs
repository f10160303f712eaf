//! What a statement is before it runs: its parameters, its columns, its command tag. What a server tells of it when a client asks to describe it.

use std::sync::Arc;

use super::facade::{Database, QueryError, Refused};
use super::message::Message;
use super::plan::Body;
use super::planner::plan_prepared;
use crate::world::database::sql::parse::{Kind, SettingValue};
use crate::world::database::sql::refuse::BindError;
use crate::world::database::sql::types::Type;

/// A statement, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its own text, without the semicolon.
    pub text: Arc<str>,
    /// What it does, as far as a connection has to know.
    pub does: Does,
    /// The types of `$1`, `$2`, ...
    pub params: Vec<Type>,
    /// Names and types of its result's columns; empty when it returns no result set.
    pub columns: Vec<(Arc<str>, Type)>,
}

/// What a statement does to its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// Its command tag is this word and a number of rows.
    Counts(&'static str),
    /// It begins a transaction; the tag.
    Begins(&'static str),
    /// It commits; whether another transaction begins with it.
    Commits {
        /// `AND CHAIN`
        chain: bool,
    },
    /// It rolls back; whether another transaction begins with it.
    RollsBack {
        /// `AND CHAIN`
        chain: bool,
    },
    /// It goes back to a savepoint, which heals a failed transaction.
    RollsBackTo,
    /// It sets a setting, not only until the end of a transaction.
    Sets {
        /// Which, in lower case.
        name: Arc<str>,
        /// To what; `None` for its default.
        value: Option<String>,
    },
    /// It prints a setting.
    Shows,
    /// It forgets a prepared statement, or all.
    Deallocates(Option<Arc<str>>),
    /// It listens to notifications or stops to.
    Listens(&'static str),
    /// Anything else; its command tag.
    Other(String),
}

impl Database {
    /// Describes every statement of a text, as the server would for a client that prepares it. `declared` are the types of parameters that the
    /// client gives; [`Type::Unknown`] where it leaves them to the server.
    ///
    /// # Errors
    /// SQL that the model does not know, with its place; or what the server would answer.
    pub fn describe(&self, sql: &str, declared: &[Type]) -> Result<Vec<Described>, QueryError> {
        let text: Arc<str> = sql.into();
        let catalog = self.catalog();
        let message = catalog
            .plans
            .get(&text, || Message::parse(&text))
            .map_err(Refused::from)?;
        let mut all = Vec::new();
        for planned in &message.statements {
            let mut described = Described {
                text: planned.statement.text.clone(),
                does: Does::Other(words(&planned.statement.text)),
                params: Vec::new(),
                columns: Vec::new(),
            };
            described.does = match &planned.statement.kind {
                Kind::Sql(statement) if super::ddl::is_query(statement) => {
                    let plan = plan_prepared(catalog, statement, declared.to_vec());
                    let plan = plan.map_err(|error| match planned.placed(error) {
                        BindError::Refused(refused) => QueryError::Refused(refused.into()),
                        BindError::Sql(error) => QueryError::from(error),
                    })?;
                    described.params = plan.params.iter().map(|(_, ty)| settled(ty)).collect();
                    described.columns = plan.root.columns.to_vec();
                    match &plan.root.body {
                        Body::Select(_) | Body::Values(_) | Body::Set { .. } => Does::Counts("SELECT"),
                        Body::Insert(_) => Does::Counts("INSERT 0"),
                        Body::Update(_) => Does::Counts("UPDATE"),
                        Body::Delete(_) => Does::Counts("DELETE"),
                        Body::Merge(_) => Does::Counts("MERGE"),
                    }
                }
                Kind::Begin(_) => Does::Begins(begins(&planned.statement.text)),
                Kind::Commit { chain } => Does::Commits { chain: *chain },
                Kind::Rollback { chain } => Does::RollsBack { chain: *chain },
                Kind::RollbackTo(_) => Does::RollsBackTo,
                Kind::Set {
                    local: false,
                    name,
                    value,
                } => Does::Sets {
                    name: name.clone(),
                    value: match value {
                        SettingValue::Values(values) => Some(values.join(", ")),
                        _ => None,
                    },
                },
                Kind::Show(name) => {
                    described.columns = vec![(name.clone(), Type::Text)];
                    Does::Shows
                }
                Kind::Deallocate(name) => Does::Deallocates(name.clone()),
                Kind::Listen(_) => Does::Listens("LISTEN"),
                Kind::Unlisten(_) => Does::Listens("UNLISTEN"),
                // What it can hold is found by doing it, on a copy.
                Kind::Sql(_) | Kind::Do { .. } => {
                    self.prepare(&planned.statement.text)?;
                    described.does
                }
                Kind::Notify { .. } => return Err(Refused::from(planned.refuse("NOTIFY")).into()),
                _ => described.does,
            };
            all.push(described);
        }
        Ok(all)
    }
}

/// A parameter whose type nothing says is a text, as on the server.
fn settled(ty: &Type) -> Type {
    match ty {
        Type::Unknown => Type::Text,
        ty => ty.clone(),
    }
}

fn begins(text: &str) -> &'static str {
    let starts = text
        .trim_start()
        .get(..5)
        .is_some_and(|word| word.eq_ignore_ascii_case("start"));
    if starts { "START TRANSACTION" } else { "BEGIN" }
}

/// The command tag of a utility statement: its first word, and its second where the first says little.
fn words(text: &str) -> String {
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    let first = words.next().unwrap_or_default();
    match first.as_str() {
        "CREATE" | "DROP" | "ALTER" | "TRUNCATE" | "LOCK" | "DISCARD" => {
            let mut rest = words.filter(|word| !matches!(word.as_str(), "UNIQUE" | "OR" | "REPLACE"));
            let second = rest.next().unwrap_or_default();
            match first.as_str() {
                "TRUNCATE" | "LOCK" => format!("{first} TABLE"),
                _ => format!("{first} {second}"),
            }
        }
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::{Database, Does, Type};

    #[test]
    fn a_statement_is_described_without_running_it() {
        let mut database = Database::new();
        let schema = "CREATE TABLE users (id bigint PRIMARY KEY, email varchar(80), created timestamptz)";
        database.run_script(schema).expect("a schema");
        let describe = |sql: &str| database.describe(sql, &[]).expect("described").remove(0);
        let insert = describe("INSERT INTO users (id, email) VALUES ($1, $2) RETURNING created, id");
        assert_eq!(insert.does, Does::Counts("INSERT 0"));
        assert_eq!(insert.params, [Type::Int8, Type::Varchar(None)]);
        let columns: Vec<&str> = insert.columns.iter().map(|(name, _)| &**name).collect();
        assert_eq!(columns, ["created", "id"]);
        assert_eq!(describe("start transaction").does, Does::Begins("START TRANSACTION"));
        assert_eq!(
            describe("create unique index on users (email)").does,
            Does::Other("CREATE INDEX".into())
        );
        assert_eq!(describe("commit").does, Does::Commits { chain: false });
        assert!(database.describe("SELECT nothing FROM users", &[]).is_err());
        assert!(database.describe("COPY users FROM STDIN", &[]).is_err());
    }
}
