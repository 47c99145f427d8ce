"""
Three PostgreSQL under Patroni on this machine, each with an etcd of its own, all on loopback: to be broken on purpose.

The configuration is the one of the guide (docs/examples/ha); only what differs from machine to machine is given here.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
import psycopg

from backlog_store.clock import system_ids
from backlog_store.testing import _processes
from backlog_store.testing.postgres import binaries
from tests.system.ha.wires import HOST, Wire

__all__ = ["CONFIGURATION", "Cluster", "Node"]

T = TypeVar("T")

CONFIGURATION = Path(__file__).parents[3] / "docs" / "examples" / "ha" / "patroni.yml"
DEADLINE_S = 120.0
LOOK_EVERY_S = 0.1
NODES = 3


class Node:
    """
    One of the machines: an etcd, and PostgreSQL under Patroni. Others reach it by its wires, clients directly.
    """

    def __init__(self, folder: Path, number: int, token: str) -> None:
        self.name = f"node{number}"
        self.folder = folder / self.name
        self.folder.mkdir(mode=0o700)
        self.port, self._rest, self._etcd, self.peer = _free_ports(4)
        self._token = token
        self._wires = [Wire(self.port), Wire(self._etcd)]
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    def start_etcd(self, nodes: Sequence[Node]) -> None:
        """
        Start etcd, unless it runs.
        """
        peers = ",".join(f"{node.name}=http://{HOST}:{node.peer}" for node in nodes)
        self._run("etcd", self._etcd_command(peers), {})

    def start_patroni(self, passwords: Mapping[str, str]) -> None:
        """
        Start Patroni, unless it runs, and with it PostgreSQL.
        """
        # A namespace of its own: the whole node dies at once, and none of it survives this process. PostgreSQL refuses
        # root: within it is another user, to whom the folder belongs.
        namespace = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--pid", "--fork", "--mount-proc"]
        patroni = str(Path(sys.executable).with_name("patroni"))
        self._run("patroni", [*namespace, "--kill-child=KILL", patroni, str(CONFIGURATION)], self._settings(passwords))

    @property
    def etcd_setting(self) -> str:
        """
        Where this node's etcd is, as a setting of Patroni.
        """
        settings = {
            "PATRONI_ETCD3_HOSTS": f"{HOST}:{self._etcd}",
            "PATRONI_RESTAPI_USERNAME": "patroni",
            "PATRONI_RESTAPI_PASSWORD": self._token,
        }
        return " ".join(f"{name}={value}" for name, value in settings.items())

    def _etcd_command(self, peers: str) -> list[str]:
        client, peer = f"http://{HOST}:{self._etcd}", f"http://{HOST}:{self.peer}"
        return [
            "etcd", f"--name={self.name}", f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={peers}", f"--initial-cluster-token={self._token}", "--initial-cluster-state=new",
            "--enable-v2=false", "--log-level=warn",
            # A loaded test machine is slower than three real ones: no election because of that.
            "--heartbeat-interval=200", "--election-timeout=2000",
        ]  # fmt: skip

    def _settings(self, passwords: Mapping[str, str]) -> dict[str, str]:
        database, etcd = self._wires
        return {
            "PATRONI_NAME": self.name,
            "PATRONI_ETCD3_HOSTS": f"{HOST}:{etcd.port}",
            # Do not ask etcd for its members and go around the wire.
            "PATRONI_ETCD3_USE_PROXIES": "true",
            "PATRONI_POSTGRESQL_LISTEN": f"{HOST}:{self.port}",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{HOST}:{database.port}",
            "PATRONI_POSTGRESQL_DATA_DIR": str(self.folder / "data"),
            "PATRONI_POSTGRESQL_BIN_DIR": str(binaries()),
            "PATRONI_POSTGRESQL_PGPASS": str(self.folder / "pgpass"),
            "PATRONI_RESTAPI_LISTEN": f"{HOST}:{self._rest}",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{HOST}:{self._rest}",
            "PATRONI_RESTAPI_USERNAME": "patroni",
            "PATRONI_RESTAPI_PASSWORD": self._token,
            **passwords,
        }

    def _run(self, program: str, command: Sequence[str], settings: Mapping[str, str]) -> None:
        running = self._programs.get(program)
        if running is not None and running.poll() is None:
            return
        ours = ("PG", "ETCD", "PATRONI")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        with self.log(program).open("ab") as log:
            self._programs[program] = subprocess.Popen(
                # Whoever started it may be killed: then it goes, too.
                ["setpriv", "--pdeathsig=KILL", *command],
                env={**inherited, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """
        The process that all of PostgreSQL and Patroni on this node live and die with.
        """
        return self._programs["patroni"].pid

    def log(self, program: str) -> Path:
        """
        Return the file that a program writes its log to.
        """
        return self.folder / f"{program}.log"

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """
        Ask this node's Patroni and return status and answer; status 0 where it does not answer.
        """
        return _ask(self._rest, path, body, token=self._token)

    def has_etcd(self) -> bool:
        """
        Tell whether etcd is ready on this node.
        """
        status, answer = _ask(self._etcd, "/version")
        return status == 200 and answer.get("etcdcluster", "not_decided") != "not_decided"

    def crash(self) -> None:
        """
        Kill PostgreSQL, every process of it, with SIGKILL.
        """
        found = [process for process in self._processes("patroni") if _is_postgres(process)]
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none of them sees others die
            for process in found:
                _processes.quietly(lambda process=process: process.send_signal(signal_number))  # type: ignore[misc] # noqa: B023 - called at once

    def kill(self) -> None:
        """
        Kill everything on the node with SIGKILL. Undone by `start`.
        """
        for process in self._programs.values():
            process.kill()  # and with it the namespace and all that is in it
        for process in self._programs.values():
            process.wait()

    def freeze(self) -> None:
        """
        Stop everything on the node with SIGSTOP: connections stay open and nothing answers. Undone by `thaw`.
        """
        for process in self._programs.values():
            _processes.freeze(process.pid)

    def thaw(self) -> None:
        """
        Let a frozen node go on.
        """
        for program in self._programs:
            for process in reversed(self._processes(program)):
                _processes.quietly(process.resume)

    def cut(self) -> None:
        """
        Cut the node off from etcd and from the other nodes; clients still reach it. Undone by `mend`.
        """
        for wire in self._wires:
            wire.cut()

    def mend(self) -> None:
        """
        Connect a node that was cut off.
        """
        for wire in self._wires:
            wire.mend()

    def stop(self) -> None:
        """
        Stop everything at once; nothing of it will be needed.
        """
        self.kill()
        for wire in self._wires:
            wire.close()

    def _processes(self, program: str) -> list[psutil.Process]:
        return _processes.tree(self._programs[program].pid)


class Cluster:
    """
    Three nodes, as a context manager: entering waits until all are well. Not thread-safe.
    """

    def __init__(self, folder: Path) -> None:
        for program in ("etcd", "unshare", "setpriv"):
            if shutil.which(program) is None:
                raise RuntimeError(f"{program} is not installed; run scripts/system-tools")
        self._password = system_ids()
        token = system_ids()
        self.nodes = [Node(folder, number, token) for number in range(1, NODES + 1)]
        self._passwords = {
            f"PATRONI_{role}_{name}": value
            for role, user in (("SUPERUSER", "postgres"), ("REPLICATION", "replicator"), ("REWIND", "rewinder"))
            for name, value in (("USERNAME", user), ("PASSWORD", self._password))
        }

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_until_well()
            self._make_database()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def dsn(self, user: str = "backlog") -> str:
        """
        Return the URL of the database, naming all nodes.
        """
        places = ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        return f"postgresql://{user}:{self._password}@{places}/backlog?target_session_attrs=read-write"

    @property
    def control(self) -> str:
        """
        The command line that looks after the cluster.
        """
        node = self.nodes[0]
        program = Path(sys.executable).with_name("patronictl")
        return f"{node.etcd_setting} {program} -c {CONFIGURATION} list"

    def start(self) -> None:
        """
        Start every node that does not run.
        """
        for node in self.nodes:
            node.start_etcd(self.nodes)
        for node in self.nodes:
            # Patroni does not start where etcd has not made up its mind which version it speaks.
            self._wait(f"etcd on {node.name}", lambda node=node: node.has_etcd() or None)  # type: ignore[misc]
            node.start_patroni(self._passwords)

    def primary(self, *, other_than: Node | None = None) -> Node:
        """
        Wait for a primary, other than *other_than*, and return it.
        """

        def look() -> Node | None:
            others = [node for node in self.nodes if node is not other_than]
            return next((node for node in others if node.ask("/primary")[0] == 200), None)

        return self._wait("a primary", look)

    def wait_until_well(self) -> None:
        """
        Wait until there are a primary and two standbys that follow it, one of them synchronously.
        """
        wanted = ["leader", "replica", "sync_standby"]
        self._wait("three nodes that are well", lambda: self._roles() == wanted or None)

    def switch_over(self, leader: Node) -> None:
        """
        Make another node the primary, in an orderly way.
        """
        status, answer = leader.ask("/switchover", {"leader": leader.name})
        if status != 200:
            raise RuntimeError(f"the switchover was refused: {status} {answer}")

    def stop(self) -> None:
        """
        Stop every node.
        """
        for node in self.nodes:
            node.stop()

    def _roles(self) -> list[str]:
        """
        Return the roles of the members that are well, sorted, as the primary sees them.
        """
        for node in self.nodes:
            status, seen = node.ask("/primary")
            if status == 200:
                members = node.ask("/cluster")[1]
                return sorted(
                    member["role"] for member in (members or {}).get("members", ())
                    if member["state"] in {"running", "streaming"} and member.get("timeline") == seen["timeline"]
                )  # fmt: skip
        return []

    def _make_database(self) -> None:
        with psycopg.connect(self.dsn("postgres").replace("/backlog?", "/postgres?"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE backlog LOGIN PASSWORD '{self._password}' IN ROLE pg_monitor".encode())
            connection.execute(b"CREATE DATABASE backlog OWNER backlog")

    def _wait(self, what: str, look: Callable[[], T | None]) -> T:
        pause = threading.Event()
        deadline = time.monotonic() + DEADLINE_S
        while (found := look()) is None:
            if time.monotonic() > deadline:
                logs = "\n".join(_tail(node.log("patroni")) for node in self.nodes)
                raise TimeoutError(f"no {what} within {DEADLINE_S} s\n{logs}")
            pause.wait(LOOK_EVERY_S)
        return found


def _ask(port: int, path: str, body: Mapping[str, Any] | None = None, *, token: str = "") -> tuple[int, Any]:
    """
    Ask over HTTP and return status and answer; status 0 where nobody answers.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=2 if body is None else 60)
    key = base64.b64encode(f"patroni:{token}".encode()).decode()
    try:
        connection.request(
            "GET" if body is None else "POST",
            path,
            None if body is None else json.dumps(body),
            {"Authorization": f"Basic {key}"},
        )
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres"
    except psutil.NoSuchProcess:
        return False


def _tail(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return f"--- {log.parent.name}\n{text[-1500:]}"


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
