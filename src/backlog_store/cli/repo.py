"""
What the git repository around us says: its name, its default branch, its folder.
"""

from __future__ import annotations

import re
import subprocess

from backlog_store.taking import branch_of

__all__ = ["default_branch", "remote_name", "toplevel"]

_TIMEOUT_S = 5


def _git(*args: str) -> str:
    """
    Return what git prints; nothing where there is no git, no repository, or no answer.
    """
    try:
        # The user's own git, found as the user's shell finds it.
        done = subprocess.run(["git", *args], capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def remote_name() -> str:
    """
    Return the repository's name as its remote has it (`origin`, else the first): ``shop`` for ``…/team/shop.git``.
    """
    remotes = _git("remote").split()
    if not remotes:
        return ""
    url = _git("config", "--get", f"remote.{'origin' if 'origin' in remotes else remotes[0]}.url")
    return re.split(r"[/:\\]", url.rstrip("/"))[-1].removesuffix(".git")


def toplevel() -> str:
    """
    Return the repository's folder, or nothing.
    """
    return _git("rev-parse", "--show-toplevel")


def default_branch() -> str:
    """
    Return the default branch as the remote has it, or nothing.
    """
    return branch_of(_git("symbolic-ref", "--short", "refs/remotes/origin/HEAD"))
