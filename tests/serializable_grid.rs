//! Two serializable transactions, one that reads and one that writes, fail on the model exactly where they fail on the real server.
//!
//! What a read marks depends on the plan that the server makes for it, so the grid is reads times writes times schemas, in two orders. A part of it is
//! compared (every 5th cell); `DEADHEAT_GRID=all` compares all, a number every so many. No failure of the server may be missing on the model, as that would be a false
//! `held`; a failure that only the model has is one of [`FALSE`], each with its reason.

mod grid;
mod server;

use deadheat::drive::postgres::source::{Database as OnServer, Server};
use deadheat::machine::{Pid, Sql, Usual};
use deadheat::world::database::{Database, DbEvent};
use grid::{Cell, READS, SCHEMAS, SEED, Session, WRITES};

/// Cells where the model has a failure that the server has not: the schema (any, if empty), the beginning of the read, and why.
const FALSE: &[(&str, &str, &str)] = &[
    (
        "",
        "with c as",
        "conditions on a CTE or a sub-select of FROM are not moved into it: what it reads without them is marked",
    ),
    (
        "hash",
        "select * from u where not exists (select 1 from t where t.k",
        "what a join costs that looks its partners up is reckoned coarsely, and leans to reading the whole of the table",
    ),
    (
        "",
        "select * from t where (k, v) > (10, 1) order by k, v limit 1",
        "a sort of what an index gives in a part of the order (Incremental Sort) is not reckoned",
    ),
];

/// The steps that failed, each with its code.
type Outcome = Vec<(usize, String)>;

fn on_model(seeded: &Database, cell: &Cell) -> Outcome {
    let mut database = seeded.clone();
    let mut failures = Outcome::new();
    for (place, (session, sql)) in grid::steps(cell.order, cell.read, cell.write).into_iter().enumerate() {
        let pid = Pid::root(match session {
            Session::A => 0,
            Session::B => 1,
        });
        for event in database.execute(pid, &Sql::new(sql), 0, &mut Usual) {
            match event {
                DbEvent::Done {
                    result: Err(failure), ..
                } => failures.push((place, failure.error.code.as_str().into())),
                DbEvent::Refused { refused, .. } => panic!("{sql}: {refused}"),
                DbEvent::Blocked { .. } => panic!("{sql} waits"),
                _ => {}
            }
        }
    }
    failures
}

/// Connections to a database with one of the schemas.
struct Clients {
    a: tokio_postgres::Client,
    b: tokio_postgres::Client,
}

impl Clients {
    async fn open(database: &OnServer) -> Clients {
        let connect = async || {
            let (client, connection) = database
                .config()
                .connect(tokio_postgres::NoTls)
                .await
                .expect("a connection");
            tokio::spawn(connection);
            client
        };
        Clients {
            a: connect().await,
            b: connect().await,
        }
    }

    async fn run(&self, cell: &Cell) -> Outcome {
        self.a.batch_execute("truncate t, u, l").await.expect("a fresh start");
        self.a.batch_execute(SEED).await.expect("rows");
        let mut failures = Outcome::new();
        for (place, (session, sql)) in grid::steps(cell.order, cell.read, cell.write).into_iter().enumerate() {
            let client = match session {
                Session::A => &self.a,
                Session::B => &self.b,
            };
            if let Err(error) = client.batch_execute(sql).await {
                let code = error.code().map(|code| code.code().to_owned());
                failures.push((place, code.unwrap_or_else(|| panic!("{sql}: {error}"))));
            }
        }
        failures
    }
}

fn every(cells: Vec<Cell>) -> Vec<Cell> {
    let stride = match std::env::var("DEADHEAT_GRID") {
        Ok(all) if all == "all" => 1,
        Ok(number) => number.parse().expect("DEADHEAT_GRID is all or a number"),
        Err(_) => 5,
    };
    cells.into_iter().step_by(stride).collect()
}

fn on_server(server: &Server, cells: &[Cell]) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut outcomes = Vec::new();
        for (number, (_, own)) in SCHEMAS.iter().enumerate() {
            let database = server.database("grid").expect("a database");
            let clients = Clients::open(&database).await;
            clients.a.batch_execute(&grid::schema(own)).await.expect("a schema");
            for cell in cells.iter().filter(|cell| cell.schema == number) {
                outcomes.push(clients.run(cell).await);
            }
        }
        outcomes
    })
}

#[test]
fn serializable_transactions_fail_where_they_fail_on_the_server() {
    let cells = every(grid::cells());
    let seeded: Vec<Database> = SCHEMAS
        .iter()
        .map(|(_, own)| {
            let mut database = Database::new();
            database.run_script(&grid::schema(own)).expect("a schema");
            database.run_script(SEED).expect("rows");
            database
        })
        .collect();
    let model: Vec<Outcome> = cells.iter().map(|cell| on_model(&seeded[cell.schema], cell)).collect();
    let Some(server) = server::server() else { return };
    let begun = std::time::Instant::now();
    let real = on_server(&server, &cells);
    eprintln!("{} cells in {:?}", cells.len(), begun.elapsed());
    let (mut missed, mut false_ones, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let mut used = vec![false; FALSE.len()];
    for ((cell, model), real) in cells.iter().zip(&model).zip(&real) {
        if model == real {
            continue;
        }
        let line = format!(
            "{} | {} | {} | {:?} | model {model:?} server {real:?}",
            SCHEMAS[cell.schema].0, cell.read, cell.write, cell.order
        );
        let known = FALSE
            .iter()
            .position(|(schema, read, _)| SCHEMAS[cell.schema].0.starts_with(schema) && cell.read.starts_with(read));
        match (model.is_empty(), real.is_empty(), known) {
            (true, _, _) => missed.push(line),
            (false, true, Some(known)) => used[known] = true,
            (false, true, None) => false_ones.push(line),
            (false, false, _) => other.push(line),
        }
    }
    eprintln!(
        "{} missed, {} false, {} elsewhere",
        missed.len(),
        false_ones.len(),
        other.len()
    );
    let show = |lines: &[String]| lines.join("\n");
    assert!(
        missed.is_empty() && false_ones.is_empty() && other.is_empty(),
        "failures of the server that the model lacks:\n{}\n\nfailures of the model alone:\n{}\n\nfailures at another step:\n{}",
        show(&missed),
        show(&false_ones),
        show(&other)
    );
    assert!(READS.len() >= 56 && WRITES.len() >= 12 && SCHEMAS.len() >= 9);
}
