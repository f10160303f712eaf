//! Functions whose calls become nodes of their own: clocks, volatile calls, conversions.

use crate::world::database::sql::expr::Volatile;
use crate::world::database::sql::func::{Func, Special};
use crate::world::database::sql::overload::{Sig, sigs};

const fn volatile(call: Volatile) -> Func {
    Func::Special(Special::Volatile(call))
}

const fn lock(shared: bool, transaction: bool, attempt: bool) -> Func {
    volatile(Volatile::AdvisoryLock {
        shared,
        transaction,
        attempt,
    })
}

const NOW: Func = Func::Special(Special::Now);
const UNSUPPORTED: Func = Func::Special(Special::Unsupported);

/// Their signatures.
pub(in crate::world::database::sql) const FUNCTIONS: &[Sig] = sigs! {
    "now"() -> Tstz = NOW;
    "transaction_timestamp"() -> Tstz = NOW;
    "statement_timestamp"() -> Tstz = Func::Special(Special::StatementTime);
    "clock_timestamp"() -> Tstz = volatile(Volatile::ClockTimestamp);
    "pg_typeof"(Any) -> Text = Func::Special(Special::Typeof);
    "to_jsonb"(Any) -> Jsonb = Func::Special(Special::ToJson);
    "to_json"(Any) -> Json = Func::Special(Special::ToJson);
    "row_to_json"(Record) -> Json = Func::Special(Special::ToJson);
    "array_to_json"(Array) -> Json = Func::Special(Special::ToJson);
    "nextval"(Text) -> Int8 = volatile(Volatile::Nextval);
    "nextval"(Regclass) -> Int8 = volatile(Volatile::Nextval);
    "currval"(Text) -> Int8 = volatile(Volatile::Currval);
    "currval"(Regclass) -> Int8 = volatile(Volatile::Currval);
    "lastval"() -> Int8 = volatile(Volatile::Lastval);
    "setval"(Text, Int8) -> Int8 = volatile(Volatile::Setval);
    "setval"(Regclass, Int8) -> Int8 = volatile(Volatile::Setval);
    "setval"(Text, Int8, Bool) -> Int8 = volatile(Volatile::Setval);
    "setval"(Regclass, Int8, Bool) -> Int8 = volatile(Volatile::Setval);
    "pg_advisory_lock"(Int8) -> Void = lock(false, false, false);
    "pg_advisory_lock"(Int4, Int4) -> Void = lock(false, false, false);
    "pg_advisory_lock_shared"(Int8) -> Void = lock(true, false, false);
    "pg_advisory_lock_shared"(Int4, Int4) -> Void = lock(true, false, false);
    "pg_advisory_xact_lock"(Int8) -> Void = lock(false, true, false);
    "pg_advisory_xact_lock"(Int4, Int4) -> Void = lock(false, true, false);
    "pg_advisory_xact_lock_shared"(Int8) -> Void = lock(true, true, false);
    "pg_advisory_xact_lock_shared"(Int4, Int4) -> Void = lock(true, true, false);
    "pg_try_advisory_lock"(Int8) -> Bool = lock(false, false, true);
    "pg_try_advisory_lock"(Int4, Int4) -> Bool = lock(false, false, true);
    "pg_try_advisory_lock_shared"(Int8) -> Bool = lock(true, false, true);
    "pg_try_advisory_lock_shared"(Int4, Int4) -> Bool = lock(true, false, true);
    "pg_try_advisory_xact_lock"(Int8) -> Bool = lock(false, true, true);
    "pg_try_advisory_xact_lock"(Int4, Int4) -> Bool = lock(false, true, true);
    "pg_try_advisory_xact_lock_shared"(Int8) -> Bool = lock(true, true, true);
    "pg_try_advisory_xact_lock_shared"(Int4, Int4) -> Bool = lock(true, true, true);
    "pg_advisory_unlock"(Int8) -> Bool = volatile(Volatile::AdvisoryUnlock { shared: false });
    "pg_advisory_unlock"(Int4, Int4) -> Bool = volatile(Volatile::AdvisoryUnlock { shared: false });
    "pg_advisory_unlock_shared"(Int8) -> Bool = volatile(Volatile::AdvisoryUnlock { shared: true });
    "pg_advisory_unlock_shared"(Int4, Int4) -> Bool = volatile(Volatile::AdvisoryUnlock { shared: true });
    "pg_advisory_unlock_all"() -> Void = volatile(Volatile::AdvisoryUnlockAll);
    "pg_sleep"(Float8) -> Void = volatile(Volatile::Sleep);
    "pg_sleep_for"(Interval) -> Void = volatile(Volatile::SleepFor);
    "set_config"(Text, Text, Bool) -> Text = volatile(Volatile::SetConfig);
    "current_setting"(Text) -> Text = volatile(Volatile::CurrentSetting);
    "current_setting"(Text, Bool) -> Text = volatile(Volatile::CurrentSetting);
    "txid_current"() -> Int8 = volatile(Volatile::TransactionId);
    "pg_current_xact_id"() -> Xid = volatile(Volatile::TransactionId);
    "pg_backend_pid"() -> Int4 = volatile(Volatile::BackendPid);
    "pg_notify"(Text, Text) -> Void = UNSUPPORTED;
    "gen_random_uuid"() -> Uuid = volatile(Volatile::RandomUuid);
    "pg_blocking_pids"(Int4) -> Int4Array = UNSUPPORTED;
    "pg_cancel_backend"(Int4) -> Bool = UNSUPPORTED;
    "pg_terminate_backend"(Int4) -> Bool = UNSUPPORTED;
    "pg_get_serial_sequence"(Text, Text) -> Text = volatile(Volatile::SerialSequence);
    "to_regclass"(Text) -> Regclass = volatile(Volatile::ToRegclass);
    "random"() -> Float8 = volatile(Volatile::Random);
    "timeofday"() -> Text = UNSUPPORTED;
    "version"() -> Text = UNSUPPORTED;
};
