"""
Where a store of files may lie: a folder of a local file system that others cannot write to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from backlog_store.errors import BackendUnavailable, ConfigError

__all__ = ["NETWORK_FILE_SYSTEMS", "file_system_of", "prepare_folder"]

#: File systems on which locks or syncs of one machine do not hold on another, by their names in /proc/self/mountinfo.
NETWORK_FILE_SYSTEMS = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.cephfs", "fuse.davfs", "fuse.glusterfs",
    "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs",
})  # fmt: skip

_MOUNTS = Path("/proc/self/mountinfo")


def prepare_folder(folder: Path, *, backend: str, create: bool, mounts: Path = _MOUNTS) -> list[Path]:
    """
    Check the folder of a store and return the folders to be made for it, outermost first (none if it is there).

    Raises `ConfigError` for a folder that is a file, on a network file system or writable by everybody, and
    `BackendUnavailable` where it cannot be looked at, or is absent and must not be made.
    """
    missing: list[Path] = []
    place = folder
    try:
        while not place.exists():
            missing.append(place)
            place = place.parent
        found = place.stat()
    except OSError as error:
        raise BackendUnavailable(backend, "opening", f"{error.strerror}: {place}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError("path", str(folder), f"{place} is a file", hint="Name a folder.")
    if missing and not create:
        raise BackendUnavailable(backend, "opening", f"there is no folder {folder}", hint="Check the path.")
    kind = file_system_of(place, mounts=mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise ConfigError(
            "path", str(folder), f"it lies on a network file system ({kind}), where neither locks nor syncs can be "
            "relied on", hint="Use a folder on a local disk, or PostgreSQL.",
        )  # fmt: skip
    if not missing and found.st_mode & stat.S_IWOTH:
        raise ConfigError("path", str(folder), "everybody may write there", hint=f"Run: chmod o-w {folder}")
    return missing[::-1]


def file_system_of(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """
    Return the type of the file system that holds *folder*; empty where the system does not tell (only Linux does).
    """
    try:
        listed = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    path = os.path.realpath(folder)
    longest, kind = -1, ""
    for line in listed.splitlines():
        # proc_pid_mountinfo(5): … root mount-point options [optional …] - type source options
        mount, _, rest = line.partition(" - ")
        point = _unescaped(mount.split(" ")[4]).rstrip("/")
        inside = path == point or path.startswith(f"{point}/")
        if inside and len(point) >= longest:  # of two mounts at one point the later one is seen
            longest, kind = len(point), rest.split(" ")[0]
    return kind


def _unescaped(text: str) -> str:
    for code in (" ", "\t", "\n"):
        text = text.replace(f"\\{ord(code):03o}", code)
    return text.replace("\\134", "\\")
