"""
Failover, `auto`: reports and comments are accepted while the database is away, and arrive later exactly once.

See DESIGN.md beside this file.
"""

from backlog_store.executors.failover.entries import Entry, Parked
from backlog_store.executors.failover.executor import FailoverExecutor
from backlog_store.executors.failover.reading import Copy
from backlog_store.executors.failover.standing import Account, Standing
from backlog_store.executors.failover.timing import Timing

__all__ = ["Account", "Copy", "Entry", "FailoverExecutor", "Parked", "Standing", "Timing"]
