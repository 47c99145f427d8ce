"""
The one hash of the package, BLAKE2b (RFC 7693), straight from Python's own implementation.

`hashlib` is the same function, but loads OpenSSL for algorithms that nobody asks for here: a thirtieth of a command.
"""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # pragma: no cover  (a Python that is built in another way)
    from hashlib import blake2b

__all__ = ["blake2b"]
