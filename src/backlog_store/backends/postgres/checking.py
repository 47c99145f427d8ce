"""
What `check` looks at: settings that a promise rests on, versions, and how far things lag.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from backlog_store.backends.port import Health
from backlog_store.backends.postgres.failures import NAME
from backlog_store.backends.postgres.losses import Durability, Standby, tell
from backlog_store.backends.postgres.migrating import MIGRATIONS, schema_version
from backlog_store.backends.postgres.wire import Link, Rows, Statement

__all__ = ["look"]

#: The oldest server that is still maintained, as `server_version_num` counts.
VERSION_MIN = 140_000
#: A transaction older than that holds back feeds and the clearing of dead rows, in seconds.
OLD_TRANSACTION_S = 300

_LOOK = """
SELECT
  current_setting('server_version'), current_setting('server_version_num'), current_setting('server_encoding'),
  current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),
  current_setting('synchronous_standby_names'), current_setting('transaction_read_only'),
  pg_is_in_recovery(), current_setting('max_connections'),
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  coalesce((SELECT round(extract(epoch FROM max(now() - xact_start)))::bigint
            FROM pg_stat_activity WHERE backend_xid IS NOT NULL OR backend_xmin IS NOT NULL), 0),
  pg_database_size(current_database()), current_setting('archive_mode')
"""
_STANDBYS = """
SELECT
  -- Whoever may not look sees that there is one, and no more.
  coalesce(application_name, ''), coalesce(state, ''), coalesce(sync_state, ''),
  coalesce(
    -- pg_current_wal_lsn() is refused by a standby, and a standby may be followed, too.
    pg_wal_lsn_diff(
      CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, flush_lsn
    )::bigint,
    -1
  )
FROM pg_stat_replication
WHERE state IS DISTINCT FROM 'backup'
ORDER BY application_name, pid
"""


class _Seen(NamedTuple):
    version: str
    version_number: str
    encoding: str
    synchronous_commit: str
    fsync: str
    full_page_writes: str
    synchronous_standby_names: str
    read_only: str
    in_recovery: str
    connections_max: str
    connections: str
    oldest_transaction_s: str
    size: str
    archive_mode: str


def look(link: Link, schema: str, moment: float) -> Health:
    """
    Return the condition of the store behind *link*. Raises `LinkError`.
    """
    began = time.monotonic()
    link.exchange([Statement("SELECT 1")], moment)
    latency_ms = (time.monotonic() - began) * 1000
    looked, followers = link.exchange([Statement(_LOOK), Statement(_STANDBYS)], moment)
    seen = _Seen(*(value.decode() for value in looked[0]))
    durability = _durability(seen, followers)
    told = tell(durability)
    version = schema_version(link, schema, moment)
    problems: list[str] = []
    warnings: list[str] = []
    if not version:
        problems.append(f"the tables in the schema {schema} are gone")
    if seen.encoding != "UTF8":
        problems.append(f"the database's encoding is {seen.encoding}; only UTF8 holds every text")
    if seen.in_recovery == "t" or seen.read_only == "on":
        problems.append("the server only reads (a standby?); name all servers and target_session_attrs=read-write")
    else:
        problems += told.problems
    warnings += told.warnings
    if int(seen.version_number) < VERSION_MIN:
        warnings.append(f"PostgreSQL {seen.version} gets no more fixes")
    if int(seen.oldest_transaction_s) > OLD_TRANSACTION_S:
        warnings.append(f"a transaction is {seen.oldest_transaction_s} s old: feeds end before it")
    if int(seen.connections) >= int(seen.connections_max) * 0.9:
        warnings.append(f"{seen.connections} of {seen.connections_max} connections are in use")
    return Health(
        ok=not problems,
        backend=NAME,
        problems=tuple(problems),
        warnings=tuple(warnings),
        facts={
            "server": seen.version,
            "latency": f"{latency_ms:.1f} ms",
            "schema": f"{schema}, version {version} of {MIGRATIONS[-1].version}",
            "synchronous_commit": seen.synchronous_commit,
            "synchronous_standby_names": seen.synchronous_standby_names or "none",
            "fsync": seen.fsync,
            "full_page_writes": seen.full_page_writes,
            "standbys": "; ".join(str(each) for each in durability.standbys) or "none",
            "on_power_loss": told.on_power_loss,
            "on_primary_loss": told.on_primary_loss,
            "connections": f"{seen.connections} of {seen.connections_max}",
            "oldest_transaction": f"{seen.oldest_transaction_s} s",
            "database_size": f"{int(seen.size) >> 20} MiB",
        },
    )


def _durability(seen: _Seen, followers: Rows) -> Durability:
    return Durability(
        fsync=seen.fsync == "on",
        full_page_writes=seen.full_page_writes == "on",
        synchronous_commit=seen.synchronous_commit,
        synchronous_standby_names=seen.synchronous_standby_names,
        archives=seen.archive_mode != "off",
        standbys=[
            Standby(name.decode(), state.decode(), sync_state.decode(), int(behind))
            for name, state, sync_state, behind in followers
        ],
    )
