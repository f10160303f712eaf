//! Postgres at statement granularity: the concurrency semantics that a handler can observe.
//!
//! Three layers: [`sql`] knows values, types and expressions; [`store`] knows row versions, snapshots, locks and conflicts;
//! [`exec`] knows tables, plans, statements and sessions, and offers all of it as one [`Database`].
//!
//! Start at [`Database::execute`]: a message of a session goes in, and what happened comes out as a list of [`DbEvent`]s.
//!
//! # What is modelled
//!
//! Sessions, transactions and savepoints at the three isolation levels; row, table and advisory locks with their queues and
//! deadlocks; unique, foreign key and check constraints with the waits that they cause; ON CONFLICT and MERGE; serializable
//! snapshot isolation with the marks that scans and index look-ups leave; the SQL that handlers and PostgreSQL's isolation tests
//! use. SQL that is not known is refused with its place.
//!
//! # Departures from the server
//!
//! - **A woken statement attempts in the step that woke it what it had waited for.** On the server others may come between. Where several are woken and
//!   the server lets them race, the orders in which they can win are branches of that step. Behind that it can be stopped like any other.
//! - **A statement can be stopped before each thing that it takes**, and before its commit where it has no BEGIN, if whoever drives the model asks for it
//!   ([`Branch::stop`](crate::machine::Branch::stop)); it goes on with [`Database::go_on`]. Not inside DDL, and not between a look-up of a key and what follows from it: a row's key that
//!   ON CONFLICT found free and somebody took meanwhile is looked for again, as on the server.
//! - **A deadlock is found when it closes**, not after `deadlock_timeout`; the victim is the one that the timeouts would choose.
//! - **A commit gives back everything at once.** On the server advisory locks go after the waiters for its rows have been woken: one that is quick enough finds
//!   the lock still held.
//! - **A rollback takes everything with it at once.** On the server its read marks go after its waiters wake, and one that is quick
//!   enough meets them: a serialization failure that a slower one does not get.
//! - **Of several rows that EXISTS found, the first in heap order is kept** when a condition is tested anew; the server keeps the one that its
//!   join met first.
//! - **Access paths are those of the planner's costs for a table that was never analyzed**, or, after CREATE INDEX on rows or ANALYZE, for one of so many
//!   rows; statistics of columns are not modelled. It matters to serializable transactions (what they mark): `tests/serializable_grid.rs` compares that with
//!   the server. [`Database::assumptions`] says what a verdict took for granted. Joins and sub-selects are reckoned more coarsely, and lean to reading all.
//! - **A sub-select that locks rows up to a LIMIT runs once**, as by hash; a nested loop would run it again for each outer row.
//! - **Of several who read what a transaction writes, the one of the first session counts as the first**; on the server it is the one that
//!   read first. It matters when both are pivots at that transaction's COMMIT: which of them is to fail.
//! - **Statements take no time** unless they are stopped. `pg_sleep`, waits and stops let the world's clock move.
//! - **Clocks are the world's**: `now()` is the moment of the transaction's begin, in a schema and a seed the world's start. The strings `'now'`
//!   and `'today'`, `current_time`, `localtime` and `timeofday()` are refused.
//! - **What a server makes up** (`gen_random_uuid()`, `random()`, the numbers of transactions and connections) is fresh: no two are equal. A random value
//!   is named after who draws it, so that one order of such values stands for all; nothing may be compared with `random()` or ordered by it. A
//!   transaction has its number from the first time that it asks, on the server from its first write; snapshots as values are refused.
//! - **An index is one page** to serializable transactions, as a small index is (two buckets of a hash index, the keys of a GIN index without `fastupdate`);
//!   larger ones would conflict less often.
//! - **Vacuum, hint bits and physical places** do not show. Versions that nobody can see are gone at once; on the
//!   server a transaction that is to fail with 40001 already does so when it meets one.
//! - **Rows with equal sort keys keep their order.** The server's quicksort moves them about when there are seven or more.
//! - **The release**: 15.20 reads the row that an ON CONFLICT met where 15.18 does not, and knows whose a number is that came before the
//!   snapshot; [`Release`] says which is meant, and the drivers ask the server.
//! - **What a server has and the model has not is refused**, never told as an error of the server: functions, operators, catalogs and settings
//!   are known by name from lists that a server made (`sql/known`). Settings are acted on, kept without effect, or refused.
//! - **DDL is seen by others when it commits**, and savepoints bound it. Two transactions that create one name at a time are refused, and so is
//!   a row from before ADD COLUMN that an older snapshot shows.
//! - Not modelled: temporary tables, deferrable unique keys, writes through views, partitions and inheritance, triggers and functions of the schema, deferrable foreign keys, ranges and exclusion
//!   constraints, NOTIFY (LISTEN is read and does nothing), two-phase commit, more than one schema.
//!
//! # The rules and the tests that hold them
//!
//! The numbers are those of the rules that were observed on the server before the model was written. The regression specs under
//! `tests/regressions/` are compared with a real server; PostgreSQL's own isolation tests and generated schedules hold all of them
//! together.
//!
//! | rule | what | held by |
//! | --- | --- | --- |
//! | 1 | a transaction's snapshot is taken by its first query, not by BEGIN | `the_snapshot_of_a_transaction_is_taken_by_its_first_query`, `repeatable_read_takes_its_snapshot_at_the_first_statement_not_at_begin`, `read_committed_sees_each_commit_in_its_next_statement` |
//! | 2 | a statement can wait in its middle and keeps what it has seen and done | `a_statement_that_waits_keeps_what_it_has_seen`, `nowait_and_skip_locked_also_count_where_the_lock_follows_later_versions` |
//! | 3 | a statement does not see what it writes; duplicates are met row by row | `a_statement_does_not_see_what_it_writes` |
//! | 4 | an error undoes the statement and fails the transaction; sequences stay | `a_failed_transaction_refuses_everything_until_its_end`, `an_error_undoes_everything_and_only_rollback_goes_on`, `sequences_are_not_rolled_back` |
//! | 5 | ROLLBACK TO gives back the locks that came after, and only those | `a_savepoint_gives_back_the_locks_that_came_after_it`, `rolling_back_undoes_the_upgrade_of_a_lock_not_the_lock`, `rolling_back_to_a_savepoint_wakes_who_waited_for_what_came_after` |
//! | 6 | four strengths of row locks | `the_four_strengths_conflict_as_documented` |
//! | 7 | an update is a key change when the value of a unique column changes | `a_key_change_takes_the_strongest_lock_and_a_key_that_stays_does_not` |
//! | 8 | an update of other columns does not disturb KEY SHARE | `an_update_of_other_columns_does_not_disturb_key_share_nor_the_other_way_round`, `key_share_returns_the_snapshots_version_even_after_a_committed_update` |
//! | 9 | KEY SHARE protects later versions too, and the version itself against old snapshots | `key_share_protects_later_versions_from_delete_and_key_change`, `locks_of_others_survive_the_commit_and_the_abort_of_an_updater`, `an_old_snapshot_waits_for_who_still_holds_the_version_that_it_sees`, `a-version-that-somebody-still-holds-is-waited-for.spec` |
//! | 10 | who waits for a row: one is next in line, the others behind it | `a_compatible_lock_overtakes_a_waiting_exclusive_one`, `a_conflicting_late_comer_queues_behind_the_first_waiter`, `nowait_and_skip_locked_count_the_next_in_line_as_a_lock` |
//! | 11 | a holder strengthens its lock ahead of the waiters | `a_holder_strengthens_its_lock_ahead_of_the_waiters` |
//! | 12 | NOWAIT and SKIP LOCKED, also along the chain of updates | `skip_locked_and_nowait_hold_along_the_chain_of_updates` |
//! | 13 | after a wait the condition is tested on the newest version | `after_a_wait_the_condition_is_tested_on_the_newest_version`, `after_waiting_for_a_change_the_condition_is_tested_on_the_newest_version` |
//! | 14 | nothing but that row is looked at again | `nothing_but_the_row_itself_is_looked_at_again`, `what-exists-and-in-found-is-not-looked-for-again.spec` |
//! | 15 | ORDER BY before locking, LIMIT after it | `rows_are_not_sorted_again_and_a_limit_counts_those_that_are_left` |
//! | 16 | rows that move to another partition | (not modelled: partitioned tables are refused) |
//! | 17 | above READ COMMITTED the first updater wins | `the_first_updater_wins_above_read_committed`, `nowait_reports_a_committed_change_as_such_and_an_uncommitted_one_as_a_lock`, `above_read_committed_a_waiter_fails_when_the_change_commits_and_goes_on_when_it_does_not` |
//! | 18 | a changed row that is not asked for is no conflict | `a_row_changed_meanwhile_but_not_asked_for_is_no_error` |
//! | 19 | an insert waits for whoever has or gives up its key | `an_insert_waits_for_an_uncommitted_twin`, `an_insert_waits_for_an_uncommitted_delete_or_key_change`, `visibility_plays_no_part`, `a_partial_unique_index_counts_only_its_rows` |
//! | 20 | a duplicate that both looked for is a serialization failure | `a_duplicate_that_both_looked_for_first_is_a_serialization_failure` |
//! | 21 | DO NOTHING | `do_nothing_waits_and_then_inserts_or_leaves_it`, `do_nothing_above_read_committed_fails_on_a_row_outside_the_snapshot` |
//! | 22 | DO UPDATE | `do_update_takes_the_newest_committed_version`, `do_update_above_read_committed_fails_when_the_row_it_waited_for_goes` |
//! | 23 | MERGE is no upsert | `merge_is_no_upsert_and_tests_its_branches_on_the_newest_version` |
//! | 24 | foreign keys lock their parents | `a_parent_that_is_not_committed_is_a_violation_at_once`, `a_parent_that_is_being_deleted_or_rekeyed_is_waited_for_and_looked_for_again`, `a_change_of_the_parents_other_columns_disturbs_no_child`, `the_deletion_of_a_parent_waits_for_children_in_flight` |
//! | 25 | foreign keys above READ COMMITTED | `above_read_committed_a_parent_of_later_is_none_and_one_that_went_later_is_a_conflict` |
//! | 26 | the victim of a deadlock | `the_earliest_waiter_of_a_cycle_is_the_victim`, `the_shortest_deadlock_timeout_makes_the_victim`, `two_upgrades_of_one_lock_fail_at_once`, `who-closes-a-circle-in-a-queue-waits-before-it-is-dissolved.spec` |
//! | 27 | table and advisory locks | `table_locks_queue_first_come_first_served`, `advisory_locks_queue_and_a_try_does_not_overtake`, `session_locks_are_counted_and_survive_rollback`, `transaction_locks_cannot_be_unlocked_by_hand`, `the_two_key_spaces_are_apart` |
//! | 28 | what a serializable read marks | `a_read_marks_what_the_servers_plan_reads`, `a_scan_marks_the_table_against_new_rows`, `a_look_up_of_an_absent_key_marks_the_index`, `ones_own_write_drops_the_mark_on_the_row_but_not_after_a_savepoint`, `other_levels_neither_set_nor_meet_marks`, `a-partial-index-that-narrows-little-is-not-read.spec` |
//! | 29 | which reads and writes make an edge | `a_look_up_does_not_meet_updates_of_other_rows`, `one_edge_alone_is_no_failure`, `a_number_before_the_snapshot_hides_the_writer_where_the_release_says_so` |
//! | 30 | who fails when an edge is made | `a_pivot_whose_target_committed_first_fails_at_its_next_statement`, `a_reader_of_both_makes_two_writers_that_were_serializable_fail` |
//! | 31 | who fails at COMMIT | `of_two_that_read_what_the_other_writes_the_first_committer_wins`, `a_pivot_that_dies_at_a_commit_saves_the_next` |
//! | 32 | READ ONLY and DEFERRABLE | `declared_read_only_is_not_tracked_when_no_writer_runs`, `a_deferrable_transaction_waits_for_a_safe_snapshot`, `a_deferrable_transaction_takes_a_new_snapshot_when_its_first_proves_unsafe` |
//! | 33 | a failing COMMIT has rolled back | `a_doomed_transaction_fails_at_commit_when_it_has_done_everything` |
//! | 34 | where the server itself may go either way | `several_who_wait_for_a_changed_row_race_for_it`, `several_inserters_race_for_a_key_that_was_given_up`, `who_waits_for_a_key_and_who_waits_for_its_row_race_for_it` |

pub mod exec;
mod hash;
pub mod sql;
pub mod store;

pub use exec::describe::{Described, Does};
pub use exec::facade::{
    Database, DbEvent, Failure, PlanAssumption, QueryError, Refused, SessionId, Severity, VirtualTable,
};
pub use store::Release;
