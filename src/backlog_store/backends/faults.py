"""
The one table from what the system says to what this package raises.
"""

from __future__ import annotations

import errno

from backlog_store.errors import BackendError, BackendUnavailable, StorageFull

__all__ = ["FULL", "system_error"]

#: No room: the disk, the quota, or the limit on a file's size. `EDQUOT` is unknown to Windows.
FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})

_HINTS = {
    errno.EROFS: "The file system is read-only: mount it for writing, or copy the store elsewhere.",
    errno.EACCES: "The store and its folder must be writable by this user.",
    errno.EPERM: "The store and its folder must be writable by this user.",
    errno.ELOOP: "It is a symlink, and none is followed: name the folder that it leads to.",
    errno.EMFILE: "This process has too many files open: raise its limit (ulimit -n).",
    errno.ENFILE: "The system has too many files open.",
    errno.ENOENT: "The store was moved or removed: put it back, then open it again.",
    errno.EIO: "The disk reports an error: look at the system's log before going on.",
}


def system_error(backend: str, operation: str, path: str, error: OSError) -> BackendError:
    """
    Return what to raise for an error of the system; nothing was executed. The caller makes *error* its cause.
    """
    if error.errno in FULL:
        return StorageFull(backend, operation, path=path)
    hint = _HINTS.get(error.errno or 0, "")
    return BackendUnavailable(backend, operation, f"{error.strerror or error}: {path}", hint=hint)
