//! Services that redeem vouchers, over three clients. None of them knows of deadheat.

pub mod over_diesel;
pub mod over_sea_orm;
pub mod over_sqlx;
