"""
The jsonl backend: a folder with a journal of checksummed transactions, for many processes.

Its format stands in docs/reference/journal-format.md, what it promises and why in ../DESIGN.md.
"""

from __future__ import annotations

from backlog_store.backends.jsonl.backend import JsonlBackend, open_jsonl
from backlog_store.backends.jsonl.repair import Repaired, repair

__all__ = ["JsonlBackend", "Repaired", "open_jsonl", "repair"]
