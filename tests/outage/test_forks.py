"""
A process forks again and again while the thread of its failover executor drains, feeds and probes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from backlog_store import open_backlog
from tests.sizes import FORKS

#: Reports before the first fork, which all wait in the spool by then.
BEFORE = 300

#: A child that hangs shows where, in all its threads, and ends itself.
PROGRAM = """
import faulthandler, os, signal, sys
from pathlib import Path
from backlog_store import Draft
from backlog_store.backends.registry import open_backend
from backlog_store.backlog import Backlog
from backlog_store.errors import BackendUnavailable
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.executors.failover.copy import LocalCopy
from backlog_store.executors.failover.timing import Timing

dsn, folder, before, forks = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
is_back = False

def opened():
    if not is_back:
        raise BackendUnavailable("test", "opening", "it is away until the spool is filled")
    return open_backend(dsn, connect_s=0.8, write_s=0.8)

timing = Timing(open_s=0, look_s=0.001, turn_s=0.001, close_s=0.05, batch=5)
store = Backlog(FailoverExecutor(opened, folder, copy=LocalCopy(folder), timing=timing))

def report(name):
    answer = store.upsert(Draft(title=name, dedupe_key=name, service="api"))
    assert answer.verdict in ("created", "accepted"), answer

for n in range(before):
    report(f"before-{n}")
is_back = True
children = []
for n in range(forks):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(30, exit=True)
        report(f"child-{n}")
        store.close()
        os._exit(0)
    children.append(child)
    report(f"parent-{n}")
    if len(children) == 3:
        assert os.waitpid(children.pop(0), 0)[1] == 0
for child in children:
    assert os.waitpid(child, 0)[1] == 0
faulthandler.dump_traceback_later(60, exit=True)
while store.executor.standing().waiting:
    try:
        store.executor.drain()
    except BackendUnavailable:
        pass  # the thread of a child that has just ended may have drained
standing = store.executor.standing()
account = standing.account
assert account.accepted == account.applied + account.there and not account.parked, account
store.close()
"""


def test_forks_beside_a_busy_thread(postgres_dsn: str, tmp_path: Path) -> None:
    """Parent and children report while the spool is drained: no child hangs, and each report is there exactly once."""
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    done = subprocess.run(
        [*command, postgres_dsn, str(tmp_path / "spool"), str(BEFORE), str(FORKS)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    names = {f"before-{n}" for n in range(BEFORE)} | {f"{who}-{n}" for who in ("child", "parent") for n in range(FORKS)}
    with open_backlog(postgres_dsn) as store:
        found = {item.title: item for item in store.each()}
        assert names == found.keys()
        assert {1} == {item.revision for item in found.values()}
