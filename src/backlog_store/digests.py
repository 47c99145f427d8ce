"""
BLAKE2b (RFC 7693), which ids, trails and reports are hashed by, straight from Python's own implementation.

`hashlib` has the same function, but loads OpenSSL for algorithms that few commands ask for: a thirtieth of a command.
"""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # pragma: no cover  (a Python that is built in another way)
    from hashlib import blake2b

__all__ = ["blake2b"]
