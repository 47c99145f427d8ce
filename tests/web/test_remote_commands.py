"""
Every command with the backlog on a server: what it prints and how it exits is as on a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from backlog_store.backlog import Backlog, open_backlog
from backlog_store.cli.main import cli as root
from backlog_store.executors.failover.copy import LocalCopy
from backlog_store.web.site import Asker
from tests.cli.conftest import REPORTS, Cli, cli
from tests.outage.primaries import Switched, failover, settle
from tests.web.serving import Served

__all__ = ["cli"]  # a fixture

#: Commands that read no backlog, and those that are about this machine or an engine.
ELSEWHERE = {
    "init", "demo", "serve", "schema", "completion", "doctor",
    "config get", "config list", "config path", "config set", "config unset",
}  # fmt: skip
#: Commands that go past the rules, to the store itself: through a server they are refused.
AT_THE_STORE = {
    "import": ["{export}"], "verify": [], "backup": ["copy"], "migrate": ["--to", "sqlite:moved.db", "--yes"],
    "restore": ["{export}", "--to", "{url}"],
}  # fmt: skip
#: What is drawn for each store: ids and their beginnings, batches, tokens, secrets, instants.
_DRAWN = re.compile(
    r"\b(bl|cm|ev|blt|whsec)_[\w+/=]+|\b\d{8}T\d{6}-\w+|\d{4}-\d\d-\d\d([T ][\d:.]+Z?)?"
    r"|\b[a-z2-7]{8}\b|\b[0-9a-f]{32,64}\b|\b[0-9a-z]{16}\b|…[0-9a-f]{4}\b"
)
#: What a command over HTTP would be asked again by, were its answer lost; an export counts the answers kept for that.
_ASKED = re.compile(r'"request":"(remote/\w+)?",|\d+ records')
_NAME = re.compile(r"{(\w+)}")
POLICY = """
priority:
  - {when: "service:web", set: P0, name: web}
"""
#: One command a line; behind `<`, what it reads. {hand} is the id of the item of that key.
STEPS = r"""
report {ruff} --service shop --complete
report {ruff} --service shop --complete
report - --format ndjson --service web < {"title": "one", "dedupe_key": "k1"}
report - --format csv --service web --map title=T --map dedupe_key=K < T,K
report {none}
plan {ruff} --service api
plan {ruff} --service api --detailed-exitcode
apply nosuchtoken
run begin --source ruff --service shop --name job-1
run list
run show nosuch
run abort nosuch -m x
run accept nosuch
run reject nosuch
run complete nosuch
add by-hand -s web -p P0 --key hand -t a --due 2030-01-01
add by-hand -s web --key hand
report - --format ndjson --service web < {"title": "other", "dedupe_key": "other", "owner": "ana"}
report - --format ndjson --service pay < {"title": "third", "dedupe_key": "third"}
add bad -p P9
list
list --json --columns id,title
list --by service
list --all service:web --sort created
list prio:(
list --format csv
list --format md
list --format jsonl --limit 2
list --view nosuch
search hand
search hand --json
show bl_
show {hand}
show {hand} --json
show nosuch
log
log {hand}
log --jsonl --limit 3
log --who nobody
dashboard
dashboard --json
dashboard --sla
digest
digest --json
stats --by service,priority
stats --by nosuch
view save mine service:web
view save bad prio:(
view list
view drop mine
view drop mine
ready
next
claim {hand} --lease 1h
claim {other}
claim --next
release {hand}
release {hand}
edit {hand} --priority P1 --title new
edit {hand} --priority P2 --if-revision 1
edit --query service:web --owner bo --dry-run
edit --query service:web --owner bo --yes
edit {hand}
move {hand} in_progress
move {hand} nowhere
close {hand} -m done
close nosuch
reopen {hand} -m again
snooze {hand} 2035-01-01
accept {third} --until +30d --by bo
assign {hand} zoe
tag {hand} --add x --remove a
escalate
deactivate
comment {hand} looked at it
comment {hand}
link {hand} blocks {other}
link {hand} nosuch {other}
link {hand} blocks {other} --remove
merge {third} {hand} --into {hand}
split third --env prod
split nosuch
batch
undo
undo
undo cm_nosuch
cleanup --older-than 30d --dry-run
cleanup --older-than 1d --yes
spool list
spool status
spool show 1
spool retry 1
spool drain
key explain hand
key lint
key rewrite --from h(.*) --to g\1 --dry-run
verdict list
verdict explain third
verdict lift third
verdict lift nosuch
token issue ci --role reporter --source ruff
token list
token rotate ci
token revoke ci
token revoke nosuch
webhook add chat https://hooks.example.org/x
webhook list
webhook log chat
webhook log nosuch
webhook pause chat -m quiet
webhook resume chat
webhook replay chat
webhook test chat
webhook deliver --once
webhook remove chat
person add ann --role admin --by-proxy
person edit ann --role worker
person list
person sign-out ann
person remove ann
person remove ann
policy check {policy}
policy apply {policy} --dry-run
policy apply {policy} --yes
policy show
policy show --history
policy explain {hand}
policy suppressed
policy test {policy}
export {folder}/out.ndjson
export {folder}/out.ndjson
export {folder}/no/out.ndjson
import {none}
"""


@pytest.fixture
def backlog() -> Backlog:
    """
    Return the store behind the service, whose clock is that of who asks.
    """
    return open_backlog("memory://", actor="scanner")


def leaves(command: click.Command, *path: str) -> Iterator[str]:
    """
    Yield the name of each command that does something.
    """
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, *path, name)


def worked(cli: Cli, folder: Path) -> list[tuple[Any, ...]]:
    """
    Run every step; return the step, its exit code, and what it printed.
    """
    folder.mkdir()
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    names = {"ruff": str(REPORTS / "ruff.sarif"), "none": str(folder / "none.json"), "policy": str(policy),
             "folder": str(folder)}  # fmt: skip
    said: list[tuple[Any, ...]] = []
    for step in STEPS.strip().splitlines():
        text, _, given = step.partition(" < ")
        args = [_NAME.sub(lambda found: names[found[1]], part) for part in text.split(" ")]  # noqa: B023
        result = cli(*args, input=given + "\n" if given else None, expect=None)
        # Where lines are wrapped depends on how many digits an instant has.
        told = [_DRAWN.sub("…", _ASKED.sub("", " ".join(part.replace(str(folder), "…").split())))
                for part in (result.stdout, result.stderr)]  # fmt: skip
        said.append((step, result.exit_code, *told))
        if args[0] in ("add", "report") and result.exit_code == 0:
            names |= {row["dedupe_key"]: row["id"] for row in cli.json("list", "--fields", "id,key")}
    return said


def test_a_command_does_the_same_on_a_server(cli: Cli, backlog: Backlog, serve: Callable[..., Served]) -> None:
    """
    Whatever is asked for, and whatever is wrong with it, is told in the same words and by the same exit code.
    """
    store = f"sqlite://{cli.folder}/b.db"
    open_backlog(store).close()
    cli.env["BACKLOG_URL"] = store
    local = worked(cli, cli.folder / "local")
    cli.env["BACKLOG_URL"] = serve(Asker(name="ana", person=True)).url
    for theirs, ours in zip(worked(cli, cli.folder / "remote"), local, strict=True):
        assert theirs == ours
    assert {code for _, code, *_ in local} >= {0, 2, 3, 4, 5}


def test_no_command_is_left_out() -> None:
    """
    Each is compared, or it is said here why there is nothing to compare.
    """
    steps = STEPS.strip().splitlines()
    compared = {name for name in leaves(root) if any(f"{step} ".startswith(f"{name} ") for step in steps)}
    assert set(leaves(root)) == compared | ELSEWHERE | set(AT_THE_STORE)


def test_what_goes_to_the_store_itself_says_so(cli: Cli, serve: Callable[..., Served]) -> None:
    """
    It is refused before anything happens, and says where it is to be run.
    """
    url = serve(Asker(name="ana", person=True)).url
    cli.env["BACKLOG_URL"] = url
    cli("add", "one")
    cli("export", "out.ndjson")
    for name, more in AT_THE_STORE.items():
        args = [part.format(export="out.ndjson", url=url) for part in more]
        assert "where the store is" in cli(name, *args, expect=4 if name != "restore" else 2).stderr, name


def test_what_a_server_reads_from_a_copy_is_told_as_on_a_file(cli: Cli, tmp_path: Path) -> None:
    """
    While its database is away each command says so once, also where it finds nothing; then no more.
    """
    primary, folder = Switched(), tmp_path / "outage"
    backlog, executor, timer = failover(primary, folder, copy=LocalCopy(folder / "spool"))
    backlog.upsert(title="a", dedupe_key="a")
    while not executor.standing().copy_as_of:
        timer.now += 60
        executor.step()
    server = Served(backlog, Asker(name="ana", person=True))
    try:
        cli.env["BACKLOG_URL"] = server.url
        assert "Copy as of" not in cli("list").stderr
        primary.up = False
        for args, code in ((["list"], 0), (["show", "bl_nothing"], 3), (["stats"], 0)):
            assert cli(*args, expect=code).stderr.count("; the database is away.") == 1, args
        primary.up = True
        settle(executor, timer)
        assert "Copy as of" not in cli("list").stderr
    finally:
        server.stop()
