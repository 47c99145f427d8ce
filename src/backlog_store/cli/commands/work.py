"""
Working items: `move`, `close`, `reopen`, `snooze`, `accept`, `assign`, `tag`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.asking import instant_of
from backlog_store.cli.command import Choice, Command, command
from backlog_store.cli.complete import complete_ids
from backlog_store.cli.options import message_option, target_options
from backlog_store.cli.writing import Targets, change
from backlog_store.model import CLOSING_REASONS, STATUSES

__all__ = ["accept", "assign", "close", "move", "reopen", "snooze", "tag"]


def _split(options: dict[str, Any], what: str) -> tuple[tuple[str, ...], str]:
    """
    Return the ids, and the last word, which is what to do with them.
    """
    words: tuple[str, ...] = options["ids"]
    described = bool(options["query"] or options["fix"])
    if len(words) > 1 or (words and described):
        return words[:-1], words[-1]
    given = f" {words[0]!r} alone is not enough." if words else ""
    raise click.UsageError(f"Which items, and which {what}?{given} Give ids (or --query, --fix), then the {what}.")


def _targets(options: dict[str, Any], ids: Sequence[str] | None = None) -> Targets:
    targets = Targets(**options)
    return targets if ids is None else replace(targets, ids=tuple(ids))


def _revision(item: Any, targets: Targets) -> int:
    # What was shown is what is changed: anything else is refused.
    return item.revision if targets.several else 0


@command("move", examples=("backlog move k3jq7a2m in_progress", "backlog move --query 'tag:flaky status:open' blocked"))
@target_options("STATUS")
@message_option
@pass_app
def move(app: App, message: str, **options: Any) -> None:
    """
    Move items along the workflow: `backlog move ID... STATUS`.

    open, in_progress, blocked, done, canceled; what is not allowed is refused, naming the moves that are. To close an
    item with a reason, from any status, see `backlog close`.
    """
    ids, status = _split(options, "status")
    if status not in STATUSES:
        _refuse_word("status", status, STATUSES)
    targets = _targets(options, ids)
    change(app, targets, lambda item: c.Move(id=item.id, to=status, message=message,
                                             revision=_revision(item, targets)), f"Move to {status}:")  # fmt: skip


def _refuse_word(kind: str, word: str, known: Sequence[str]) -> None:
    from backlog_store.cli.command import refuse_unknown

    refuse_unknown(kind, word, known)


@command("close", examples=(
    "backlog close k3jq7a2m -m 'deployed 1.4.2'",
    "backlog close k3jq7a2m --reason duplicate --of p7xw2c4d",
    "backlog close --query 'source:bandit test_*' --reason false_positive",
))  # fmt: skip
@target_options()
@click.option("-r", "--reason", type=Choice(CLOSING_REASONS), default="fixed", show_default=True,
              help="Why. A report reopens what was `fixed`, nothing else.")  # fmt: skip
@click.option("--of", "duplicate_of", default="", metavar="ID", shell_complete=complete_ids,
              help="The item that this one duplicates.")  # fmt: skip
@message_option
@pass_app
def close(app: App, reason: str, duplicate_of: str, message: str, **options: Any) -> None:
    """
    Close items, from any live status, with a reason.
    """
    if reason == "accepted_risk":
        raise click.UsageError(
            "An accepted risk needs an approver and an end: `backlog accept ID --until DAY --by NAME`."
        )
    if (reason == "duplicate") != bool(duplicate_of):
        raise click.UsageError("--reason duplicate and --of ID go together.")
    targets = _targets(options)
    app.reading()
    other = app.item(duplicate_of).id if duplicate_of else ""
    change(app, targets, lambda item: c.Close(id=item.id, reason=reason, message=message, duplicate_of=other,
                                              revision=_revision(item, targets)), f"Close as {reason}:")  # fmt: skip


@command("reopen", examples=("backlog reopen k3jq7a2m -m 'came back with 1.5.0'",))
@target_options()
@click.option("-m", "--message", required=True, metavar="TEXT", help="Why; needed.")
@pass_app
def reopen(app: App, message: str, **options: Any) -> None:
    """
    Open closed items again, in a new episode.
    """
    targets = _targets(options)
    change(
        app, targets, lambda item: c.Reopen(id=item.id, message=message, revision=_revision(item, targets)), "Reopen"
    )


@command("snooze", examples=("backlog snooze k3jq7a2m fri", "backlog snooze k3jq7a2m +3d -m 'waits for the upgrade'",
                             "backlog snooze k3jq7a2m now"))  # fmt: skip
@target_options("UNTIL")
@message_option
@pass_app
def snooze(app: App, message: str, **options: Any) -> None:
    """
    Let items sleep until a day or time: `backlog snooze ID... UNTIL`; `now` wakes them.

    tomorrow, fri, +3d, 2w, eow, eom, 2026-12-01, 2026-12-01T09:30Z; a day begins at midnight, UTC.
    """
    ids, until = _split(options, "day or time")
    targets = _targets(options, ids)
    at = "" if until == "now" else instant_of(app, until, "UNTIL")
    change(app, targets, lambda item: c.Snooze(id=item.id, until=at, message=message,
                                               revision=_revision(item, targets)),
           f"Snooze until {until}:" if at else "Wake")  # fmt: skip


@command("accept", examples=("backlog accept k3jq7a2m --until +90d --by 'Ana (CISO)' -m 'behind the VPN'",))
@target_options()
@click.option("--until", required=True, metavar="DAY", help="When the acceptance ends: 2027-01-31, +90d, eom.")
@click.option("--by", "approver", required=True, metavar="NAME", help="Who approved it.")
@message_option
@pass_app
def accept(app: App, until: str, approver: str, message: str, **options: Any) -> None:
    """
    Accept the risk of items until a day: closed until then, reopened by the next report after it.
    """
    targets = _targets(options)
    at = instant_of(app, until, "--until")
    change(app, targets, lambda item: c.Close(id=item.id, reason="accepted_risk", approver=approver, expires_at=at,
                                              message=message, revision=_revision(item, targets)),
           f"Accept until {until}:")  # fmt: skip


@command("assign", examples=("backlog assign k3jq7a2m @me", "backlog assign k3jq7a2m none",
                             "backlog assign ana --query 'service:pay* is:unowned'"))  # fmt: skip
@target_options("OWNER")
@message_option
@pass_app
def assign(app: App, message: str, **options: Any) -> None:
    """
    Give items an owner: `backlog assign ID... OWNER`; `@me` is you, `none` nobody.
    """
    ids, owner = _split(options, "owner")
    if not owner:
        raise click.UsageError("The owner is empty. Give a name, @me, or none for nobody.")
    name = {"@me": app.actor.name, "none": ""}.get(owner, owner)
    targets = _targets(options, ids)
    change(app, targets, lambda item: c.Edit(id=item.id, fields={"owner": name}, message=message,
                                             revision=_revision(item, targets)), f"Assign to {owner}:")  # fmt: skip


class _Tagging(Command):
    """
    A command whose words may be ``-slow``, which is no option but a tag to remove.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        Parse the arguments, ``+tag`` and ``-tag`` among them.
        """
        rewritten: list[str] = []
        value = False  # whether this argument belongs to the option before it
        for arg in args:
            tag = arg[1:]
            if not value and arg[:1] == "+" and tag:
                rewritten += ["--add", tag]
            elif not value and arg[:1] == "-" and len(arg) > 2 and arg[1] != "-":
                rewritten += ["--remove", tag]
            else:
                rewritten.append(arg)
            value = arg in ("-q", "--query", "--fix", "-m", "--message", "--add", "--remove", "--token", "--fields")
        return super().parse_args(ctx, rewritten)


@command("tag", cls=_Tagging, examples=("backlog tag k3jq7a2m +flaky -slow",
                                        "backlog tag --query 'service:checkout' +q4"))  # fmt: skip
@target_options("[+TAG]... [-TAG]...")
@click.option("--add", multiple=True, metavar="TAG", help="Add a tag; +TAG does the same.")
@click.option("--remove", multiple=True, metavar="TAG", help="Remove a tag; -TAG does the same.")
@message_option
@pass_app
def tag(app: App, add: tuple[str, ...], remove: tuple[str, ...], message: str, **options: Any) -> None:
    """
    Add tags to items and remove them: `backlog tag ID... +TAG -TAG`.
    """
    if not add and not remove:
        raise click.UsageError("Which tags? Give +TAG to add, -TAG to remove.")
    targets = _targets(options)
    words = " ".join([*(f"+{name}" for name in add), *(f"-{name}" for name in remove)])
    change(app, targets, lambda item: c.Edit(id=item.id, add_tags=add, remove_tags=remove, message=message,
                                             revision=_revision(item, targets)), f"Tag {words}:")  # fmt: skip
