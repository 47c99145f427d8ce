"""
Faults of the store, one each: what a careless change could do to a promise, and the test that must notice it.

Each replaces one passage of one module, which must stand there exactly once: whoever changes that passage brings the
mutant along. Where no test notices a fault, the test is missing.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """
    A fault: *old* becomes *new* in *file* (of the package), and *caught_by* (of the tests) fails.
    """

    file: str
    old: str
    new: str
    caught_by: str


_OPERATIONS = "crash/test_jsonl_operations.py::"
_CONFORMANCE = "conformance/test_conformance.py::TestRetaining::"
_FAILOVER = "outage/test_failover.py::"
_SQLITE = "unit/backends/test_sqlite_store.py::"

MUTANTS: dict[str, Mutant] = {
    # --- acknowledged means durable -----------------------------------------------------------------------------------
    "no sync reaches the system": Mutant(
        "backends/fs.py",
        "os.fdatasync(fd)",
        "pass",
        "unit/backends/test_fs.py::test_a_sync_asks_the_system",
    ),
    "no sync of a folder reaches the system": Mutant(
        "backends/fs.py",
        "        try:\n            os.fsync(fd)\n        finally:",
        "        try:\n            pass\n        finally:",
        "unit/backends/test_fs.py::test_a_sync_of_a_folder_asks_the_system",
    ),
    "an append without its sync": Mutant(
        "backends/jsonl/journal.py",
        "                self._sync_folder()\n            self.fs.sync_data(self._fd)\n",
        "                self._sync_folder()\n",
        "compat/test_defects.py::test_no_sync",
    ),
    "a new journal whose folder is not synced": Mutant(
        "backends/jsonl/journal.py",
        "            self.fs.sync_folder(self.paths.folder)\n",
        "",
        f"{_OPERATIONS}test_the_first_write_to_a_file_that_another_process_put_there_syncs_the_folder",
    ),
    "an answer before its line is written": Mutant(
        "backends/jsonl/backend.py",
        "        journal.append(effects)\n",
        "        late, journal.late = getattr(journal, 'late', None), effects\n"
        "        if late:\n            journal.append(late)\n",
        f"{_CONFORMANCE}test_an_opened_store_is_the_one_that_was_closed[jsonl]",
    ),
    "an answer from a line that a killed process did not sync": Mutant(
        "backends/jsonl/journal.py",
        "        if self._is_synced and self._is_folder_synced:\n            return\n        try:",
        "        return\n        try:",
        f"{_OPERATIONS}test_what_a_killed_process_wrote_is_synced_before_anybody_is_answered_from_it",
    ),
    "a sync that fails is swallowed": Mutant(
        "backends/jsonl/journal.py",
        '            self._stop(error, "a sync failed")\n            self._cut_back()\n            raise',
        "            self._cut_back()\n            return\n            raise",
        f"{_OPERATIONS}test_after_a_failed_sync_the_outcome_is_unknown_and_the_store_stops",
    ),
    "after an error of the disk it goes on in hope": Mutant(
        "backends/jsonl/journal.py",
        '        self.stopped = self.stopped or f"{what} ({error.strerror or error})"',
        "        pass",
        f"{_OPERATIONS}test_a_disk_that_cannot_write_stops_the_store",
    ),
    "SQLite does not sync": Mutant(
        "backends/sqlite/connection.py",
        'f"PRAGMA synchronous = {synchronous}"',
        '"PRAGMA synchronous = OFF"',
        f"{_SQLITE}test_a_commit_is_synced_by_the_engine_itself",
    ),
    "SQLite syncs at checkpoints only": Mutant(
        "backends/sqlite/connection.py",
        'f"PRAGMA synchronous = {synchronous}"',
        '"PRAGMA synchronous = NORMAL"',
        f"{_SQLITE}test_a_commit_is_synced_by_the_engine_itself",
    ),
    "SQLite goes on after a failed sync": Mutant(
        "backends/sqlite/faults.py",
        "    return _code(error) in _SYNC_LOST",
        "    return False",
        f"{_SQLITE}test_after_a_failed_sync_nothing_is_acknowledged_until_it_is_opened_again",
    ),
    # --- nothing is repaired silently ---------------------------------------------------------------------------------
    "no checksum is looked at": Mutant(
        "backends/jsonl/lines.py",
        '    if line[:_REST_AT] != b"%s%08x" % (_START, crc32(memoryview(line)[_REST_AT:-1])):',
        "    if not line:",
        "crash/test_jsonl_damage.py::test_any_damaged_byte_within_is_named_and_nothing_is_touched",
    ),
    "a missing line is passed over": Mutant(
        "backends/jsonl/journal.py",
        "            if seq != self.seq + 1:\n",
        "            if seq < 0:\n",
        "crash/test_jsonl_damage.py::test_a_missing_transaction_is_noticed",
    ),
    "damage is cut away as if it were unfinished": Mutant(
        "backends/jsonl/journal.py",
        "        if self.tail and not is_unfinished(rest, self.end):",
        "        if self.tail < 0:",
        "crash/test_jsonl_damage.py::test_damage_is_noticed_while_a_store_is_open",
    ),
    "what is cut away is not kept": Mutant(
        "backends/jsonl/journal.py",
        '            keep_aside(self.fs, self.paths, f"{self.generation}-{self.end}-torn", torn)',
        "            pass",
        "crash/test_jsonl_damage.py::test_the_same_end_torn_again_is_cut_again",
    ),
    "a backup is not looked at before it is restored": Mutant(
        "backup.py",
        "        _check_copy(form, file, watch)\n        _put_in_place(form, file, url)",
        "        _put_in_place(form, file, url)",
        "crash/test_backup.py::test_a_damaged_backup_makes_no_store[jsonl-changed]",
    ),
    # --- one item a key, one effect a request -------------------------------------------------------------------------
    "a request id is not remembered": Mutant(
        "rules/decide.py",
        "        _keep_answer(context, answer)\n",
        "        pass\n",
        "unit/rules/test_lifecycle.py::test_request_asked_twice_happens_once",
    ),
    "a request id stands for any request": Mutant(
        "rules/decide.py",
        '    if record.body["digest"] != _body_digest(context.command.body):',
        "    if not record.body:",
        "unit/rules/test_lifecycle.py::test_request_id_of_another_body_is_refused",
    ),
    "a dedupe key holds in all envs": Mutant(
        "ids.py",
        'encode(("item", key[0], key[1], generation))',
        'encode(("item", key[1], generation))',
        "unit/rules/test_upsert.py::test_same_problem_has_the_same_id_on_every_store",
    ),
    "an item of the same key is not looked for": Mutant(
        "backends/preconditions.py",
        "    if holder is not None and holder != item.id:",
        "    if holder == '':",
        f"{_CONFORMANCE}test_a_taken_key_is_refused_and_names_its_holder[memory]",
    ),
    "a revision is not checked": Mutant(
        "backends/preconditions.py",
        "    if expected != found or not found:\n",
        "    if not found:\n",
        f"{_CONFORMANCE}test_a_wrong_revision_is_refused_and_both_are_named[memory-1]",
    ),
    "a fixed problem that returns stays closed": Mutant(
        "rules/returning.py",
        '    return "" if seen_at >= closed_at else',
        "    return",
        "unit/rules/test_upsert.py::test_fixed_problem_that_returns_is_reopened_with_an_event",
    ),
    "a verdict of a person is forgotten": Mutant(
        "rules/returning.py",
        'if reason == "accepted_risk" else f"closed as {reason}"',
        'if True else ""',
        "unit/rules/test_upsert.py::test_judgement_of_a_person_stands",
    ),
    "new evidence takes the place of the old": Mutant(
        "rules/fields.py",
        "            merged[kind] = _newest([*before, *fresh])",
        "            merged[kind] = _newest([*fresh])",
        "unit/rules/test_upsert.py::test_evidence_of_later_reports_is_added",
    ),
    # --- an item and its event are there together ---------------------------------------------------------------------
    "an item without its event": Mutant(
        "backends/state.py",
        "                self._carry_out_event(change.event, effects)\n",
        "",
        f"{_CONFORMANCE}test_a_created_item_is_there_with_its_event[memory]",
    ),
    "an item in SQLite without its event": Mutant(
        "backends/sqlite/writer.py",
        "        execute(INSERT_EVENT, event_values(event, position, 0))\n",
        "",
        f"{_CONFORMANCE}test_a_created_item_is_there_with_its_event[sqlite]",
    ),
    "an event without its item": Mutant(
        "backends/state.py",
        "                self._carry_out_item(change.item, effects)\n",
        "",
        f"{_CONFORMANCE}test_a_created_item_is_there_with_its_event[memory]",
    ),
    "an event that is linked to none before it": Mutant(
        "rules/view.py",
        "prev=(old or new).head,",
        'prev="",',
        "unit/rules/test_lifecycle.py::test_comment_changes_no_field",
    ),
    "a rewritten history is not held against its seal": Mutant(
        "seal.py",
        "        if event.hash != line.head:",
        "        if not event.hash:",
        "unit/test_seal.py::test_a_rewritten_history_is_named_though_it_proves_itself",
    ),
    # --- questions and what is printed --------------------------------------------------------------------------------
    "a condition is left out of the question": Mutant(
        "backends/sql/pages.py",
        "            rest.append(part)\n",
        "            pass\n",
        f"{_CONFORMANCE}test_conditions_combine_as_in_logic[sqlite]",
    ),
    "a page begins with the last row of the one before": Mutant(
        "backends/sql/pages.py",
        '        relation: LiteralString = "<" if query.descending else ">"',
        '        relation: LiteralString = "<=" if query.descending else ">="',
        f"{_CONFORMANCE}test_a_walk_by_cursor_is_the_whole_list[sqlite-created-False]",
    ),
    "user text becomes SQL": Mutant(
        "backends/sql/compile.py",
        '    test: LiteralString = f"{column} {OPERATORS[op]} {dialect.placeholder}"\n',
        '    test: LiteralString = f"{column} {OPERATORS[op]} \'{value}\' || {dialect.placeholder}"\n    value = ""\n',
        "unit/backends/test_sql_compile.py::test_user_text_is_a_parameter_and_never_sql",
    ),
    "a cell is a formula": Mutant(
        "shown.py",
        '    return f"\'{text}" if text[:1] in ("=", "+", "-", "@", "\\t", "\\r") else text',
        "    return text",
        "cli/test_list.py::test_cells_of_csv_are_no_formulas",
    ),
    "a title steers the terminal": Mutant(
        "cli/text.py",
        "    if text.isprintable():\n        return text\n",
        "    return text\n",
        "cli/test_list.py::test_control_characters_reach_no_terminal",
    ),
    # --- an unknown outcome is told as unknown ------------------------------------------------------------------------
    "no client deadline": Mutant(
        "backends/postgres/wire.py",
        "seconds_until(moment), write=write)",
        "seconds_until(moment) and 3_600.0, write=write)",
        "outage/test_postgres_deadlines.py::test_it_is_the_caller_who_gives_up",
    ),
    "a lost COMMIT is told as not executed": Mutant(
        "backends/postgres/failures.py",
        "        if committing:\n",
        "        if not reason:\n",
        "outage/test_postgres_deadlines.py::test_a_lost_commit_is_an_unknown_outcome[cut-found2]",
    ),
    "an unknown outcome is asked about without a request id": Mutant(
        "executors/settling.py",
        "    if not command.request_id:\n        raise unknown\n",
        "",
        "unit/test_settling.py::test_without_a_request_id_it_is_told_as_unknown",
    ),
    # --- auto ---------------------------------------------------------------------------------------------------------
    "a blind replay": Mutant(
        "executors/failover/executor.py",
        "command = replace(command, request_id=f\"auto/{derived('request', command.seed)}\")",
        "pass",
        f"{_FAILOVER}test_an_answer_that_was_lost_does_not_double_its_effect",
    ),
    "accepted before it is in the spool": Mutant(
        "executors/failover/spool.py",
        "            writer.apply(self._behind(ledger, record, bodies,",
        "            list(self._behind(ledger, record, bodies,",
        "outage/test_spool.py::test_a_spool_survives_its_process",
    ),
    "what is in memory is told as durable": Mutant(
        "executors/failover/executor.py",
        "volatile=not durable",
        "volatile=False",
        f"{_FAILOVER}test_memory_is_the_last_resort_and_goes_to_the_disk_first",
    ),
    "a replay out of order": Mutant(
        "executors/failover/replay.py",
        "                stack += [batch[half:], batch[:half]]",
        "                stack += [batch[:half], batch[half:]]",
        f"{_FAILOVER}test_a_batch_that_is_cut_in_parts_arrives_in_order",
    ),
    "a receipt that goes back": Mutant(
        "executors/failover/identity.py",
        'max(number, int(record.body["drained"])) if record else number',
        "number",
        f"{_FAILOVER}test_what_the_primary_knows_of_a_spool_never_goes_back",
    ),
    "a command that overtakes what waits": Mutant(
        "executors/failover/executor.py",
        "        return self._primary if self._breaker.is_direct else None\n\n    def _accept",
        "        return self._primary\n\n    def _accept",
        f"{_FAILOVER}test_commands_go_behind_what_waits",
    ),
    "a parked command is dropped": Mutant(
        "executors/failover/spool.py",
        '[DropRecord("spool", id, 1), _put("parked", id, _parked(found, parked[id], now))]',
        '[DropRecord("spool", id, 1)]',
        "outage/test_spool.py::test_the_account_balances_at_each_move",
    ),
    "a spool is drained into another store": Mutant(
        "executors/failover/identity.py",
        "    if found != expected:\n",
        "    if not expected:\n",
        f"{_FAILOVER}test_what_waits_is_not_drained_into_another_store",
    ),
    "a primary restored from a backup is not noticed": Mutant(
        "executors/failover/identity.py",
        "    if receipt < mark:\n",
        "    if receipt < 0:\n",
        f"{_FAILOVER}test_a_primary_restored_from_an_older_backup_gets_back_what_it_lost",
    ),
    "an outage looks like an empty backlog": Mutant(
        "executors/failover/executor.py",
        "        if not has_copy:\n            raise self._away(",
        "        if not has_copy:\n            return open_memory().read(fn)\n            raise self._away(",
        f"{_FAILOVER}test_reads_without_a_copy_are_refused_not_empty",
    ),
    # --- webhooks and the stream --------------------------------------------------------------------------------------
    "a webhook goes to addresses that are not public": Mutant(
        "webhooks/outlets.py",
        "        if not outlets.allows(address):\n",
        "        if not outlets.hosts:\n",
        "webhooks/test_sending.py::test_a_name_with_an_address_that_is_not_public_is_refused",
    ),
    "an answer that was cut off counts as one": Mutant(
        "webhooks/outlets.py",
        "        _left(ends)  # cut off in the middle of its headers, an answer looks like a whole one\n",
        "",
        "webhooks/test_sending.py::test_a_receiver_that_never_ends_its_answer_is_given_up",
    ),
    "an event that could not be delivered is passed over": Mutant(
        "webhooks/delivering.py",
        "                if not self._first(webhook, turn, event, look.items.get(event.item_id)):\n"
        "                    return False\n",
        "                self._first(webhook, turn, event, look.items.get(event.item_id))\n",
        "webhooks/test_delivering.py::test_a_receiver_that_is_away_holds_up_its_events_in_order",
    ),
    "listeners that connect together have a reader each": Mutant(
        "web/tail.py",
        "        async with self._starting:\n",
        "        if self._starting:\n",
        "web/test_stream.py::test_listeners_that_come_back_at_once_get_each_change_once",
    ),
}
