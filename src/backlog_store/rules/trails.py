"""
The records that stand behind the trails that belong to no item (`model.TRAILS`), for who follows the events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from backlog_store.backends.port import Reader
from backlog_store.model import ACCESS_TRAIL, POLICY_TRAIL, Record
from backlog_store.rules.admitted import access_records
from backlog_store.rules.policies import policy_records

__all__ = ["RECORDS_OF"]

RECORDS_OF: Mapping[str, Callable[[Reader], Iterator[Record]]] = {
    POLICY_TRAIL: policy_records, ACCESS_TRAIL: access_records,
}  # fmt: skip
