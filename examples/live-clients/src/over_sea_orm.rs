//! The same over sea-orm.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectOptions, Database, DbErr, EntityTrait, QueryFilter, TransactionTrait};

/// Vouchers.
pub mod voucher {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "vouchers")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub code: String,
        pub uses_left: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What was redeemed.
pub mod redemption {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "redemptions")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub code: String,
        pub customer: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Looks, and takes what it saw, in a transaction that does not help.
pub async fn redeem(url: &str, code: &str) -> Result<u16, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false);
    let database = Database::connect(options).await?;
    let transaction = database.begin().await?;
    let found = voucher::Entity::find_by_id(code).one(&transaction).await?;
    if found.is_none_or(|voucher| voucher.uses_left == 0) {
        return Ok(409);
    }
    let redeemed = redemption::ActiveModel {
        code: Set(code.to_owned()),
        customer: Set("ann".to_owned()),
        ..Default::default()
    };
    redeemed.insert(&transaction).await?;
    voucher::Entity::update_many()
        .col_expr(voucher::Column::UsesLeft, Expr::col(voucher::Column::UsesLeft).sub(1))
        .filter(voucher::Column::Code.eq(code))
        .exec(&transaction)
        .await?;
    transaction.commit().await?;
    Ok(200)
}
