//! The conductor runs schedules on the real server, and notices when the server is not what the model says.

mod server;

use std::path::Path;
use std::sync::Arc;

use deadheat::drive::postgres::conductor::{Conducted, conduct};
use deadheat::drive::postgres::stage::Stage;
use deadheat::drive::postgres::walks;
use deadheat::explore::classes;
use deadheat::scenario::{Library, Scenario};
use deadheat::system::Points;

fn scenario(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let loaded = Library::default().load_file(&path).expect("a scenario");
    loaded.into_iter().next().expect("one scenario")
}

#[test]
fn random_runs_of_a_hardened_registration_agree_with_the_server() {
    let Some(server) = server::server() else { return };
    let scenario = scenario("registration/partnercrm-hardened.toml");
    let mut stage = Stage::open(&server, scenario.system.spec().world.database.scripts()).expect("a stage");
    for schedule in walks(&scenario.system.with_points(Points::None), 1).take(60) {
        let conducted = conduct(&mut stage, &scenario.system, &schedule).expect("it runs");
        assert!(!matches!(conducted, Conducted::Differs(_)), "{schedule}: {conducted:?}");
    }
}

#[test]
fn random_runs_of_a_payment_agree_with_the_server_and_with_the_provider_behind_its_socket() {
    let Some(server) = server::server() else { return };
    let scenario = scenario("payment/order-retried-hardened.toml");
    let mut stage = Stage::open(&server, scenario.system.spec().world.database.scripts()).expect("a stage");
    for schedule in walks(&scenario.system.with_points(Points::None), 1).take(20) {
        let conducted = conduct(&mut stage, &scenario.system, &schedule).expect("it runs");
        assert!(!matches!(conducted, Conducted::Differs(_)), "{schedule}: {conducted:?}");
    }
    let charged = stage.gateway().map(|gateway| gateway.provider().get().tables());
    let charges = charged
        .into_iter()
        .flatten()
        .find(|table| &*table.name == "provider_charges");
    assert!(
        charges.is_some_and(|charges| !charges.rows.is_empty()),
        "no charge went over the socket"
    );
}

/// Every class of schedules of the small scenarios, once each: the model and the server agree on every reply, wait and row.
#[test]
fn every_class_of_the_small_registration_scenarios_runs_alike_on_the_server() {
    const SMALL: usize = 500;
    let Some(server) = server::server() else { return };
    let mut ran = 0;
    for name in [
        "as-reported",
        "select-then-insert",
        "unique-only",
        "key-checked-then-stored",
        "answers-before-commit",
    ] {
        let scenario = scenario(&format!("registration/partnercrm-{name}.toml"));
        let found = classes(&scenario.system.with_points(Points::None), SMALL);
        if !found.complete {
            continue;
        }
        let mut stage = Stage::open(&server, scenario.system.spec().world.database.scripts()).expect("a stage");
        for schedule in &found.schedules {
            let conducted = conduct(&mut stage, &scenario.system, schedule).expect("it runs");
            assert!(
                !matches!(conducted, Conducted::Differs(_)),
                "{name}, {schedule}: {conducted:?}"
            );
        }
        ran += 1;
    }
    assert!(ran >= 3, "only {ran} scenarios have at most {SMALL} classes");
}

#[test]
fn a_server_without_the_unique_index_is_told_apart() {
    let Some(server) = server::server() else { return };
    let scenario = scenario("registration/partnercrm-hardened.toml");
    // The planted mistake: the server allows what the model forbids.
    let scripts: Vec<Arc<str>> = scenario.system.spec().world.database.scripts().to_vec();
    let planted = "DO $$ DECLARE i record; BEGIN \
         FOR i IN SELECT c.conrelid::regclass AS t, c.conname AS n FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid \
             WHERE c.contype IN ('u', 'p') AND r.relnamespace = 'public'::regnamespace \
         LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', i.t, i.n); END LOOP; \
         FOR i IN SELECT c.oid::regclass AS n FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid \
             WHERE x.indisunique AND c.relnamespace = 'public'::regnamespace \
         LOOP EXECUTE format('DROP INDEX %s', i.n); END LOOP; END $$";
    let planted: Vec<Arc<str>> = scripts.into_iter().chain([planted.into()]).collect();
    let mut stage = Stage::open(&server, &planted).expect("a stage");
    let mut differences = 0;
    for schedule in walks(&scenario.system.with_points(Points::None), 1).take(10) {
        let conducted = conduct(&mut stage, &scenario.system, &schedule).expect("it runs");
        differences += usize::from(matches!(conducted, Conducted::Differs(_)));
    }
    assert!(differences > 0, "nothing was noticed");
}
