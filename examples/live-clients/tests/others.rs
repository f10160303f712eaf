//! The same race over diesel-async and sea-orm.

use deadheat::live::Race;

fn vouchers() -> Race {
    Race::new("")
        .migrations("migrations")
        .seed("insert into vouchers values ('WELCOME', 1)")
        .always("redeemed once", "select code from redemptions group by code having count(*) > 1")
        .expect_violation("redeemed once")
}

#[test]
fn over_diesel_async() {
    let code = async |world: deadheat::live::World| live_clients::over_diesel::redeem(world.database_url(), "WELCOME").await;
    vouchers().requests(2, code).check();
}

#[test]
fn over_sea_orm() {
    let code = async |world: deadheat::live::World| live_clients::over_sea_orm::redeem(world.database_url(), "WELCOME").await;
    vouchers().requests(2, code).check();
}
