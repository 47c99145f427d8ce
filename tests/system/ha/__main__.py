"""
Three PostgreSQL under Patroni on this machine, to try things on; see docs/guides/high-availability.md.

::

    scripts/ha-cluster           runs until Ctrl-C
    scripts/ha-cluster COMMAND   runs COMMAND with BACKLOG_URL set, then stops
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.system.ha.cluster import Cluster


def main(command: list[str]) -> int:
    """
    Bring the cluster up, run *command* or wait, and take it all away again.
    """
    with tempfile.TemporaryDirectory(prefix="backlog-ha-") as folder:
        sys.stdout.write("Starting three nodes; this takes some 20 s …\n")
        with Cluster(Path(folder)) as cluster:
            programs = Path(sys.executable).parent
            if command:
                path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
                environment = {**os.environ, "PATH": path, "BACKLOG_URL": cluster.dsn()}
                return subprocess.run(command, env=environment, check=False).returncode
            sys.stdout.write(f"\nThe database, for the backlog:\n  export BACKLOG_URL='{cluster.dsn()}'\n")
            sys.stdout.write("\nThe cluster, for you (list, switchover, edit-config …):\n")
            sys.stdout.write(f"  {cluster.control}\n\nThe nodes, to kill or freeze:\n")
            for node in cluster.nodes:
                sys.stdout.write(f"  {node.name}  port {node.port}  process {node.pid}  log {node.log('patroni')}\n")
            sys.stdout.write("\nCtrl-C stops all of it and removes it.\n")
            sys.stdout.flush()
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    # Blocked before anything starts, so that Ctrl-C always ends in an orderly way here.
    if len(sys.argv) == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main(sys.argv[1:]))
