"""
The entry of the command line: the overview of commands, and what happens when one fails.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from backlog_store import __version__
from backlog_store.cli.app import App
from backlog_store.cli.command import LazyGroup, Place
from backlog_store.cli.failures import tell_failure

__all__ = ["cli", "main"]

_HOME = "backlog_store.cli.commands."


def _in(module: str, attribute: str, help: str) -> Place:
    return Place(_HOME + module, attribute, help)


SECTIONS: Mapping[str, Mapping[str, Place]] = {
    "Start": {
        "init": _in("init", "init", "Make a backlog for this project."),
        "demo": _in("demo", "demo", "See it work on real findings, in a store that is thrown away."),
        "plan": _in("plan", "plan", "Show what reports would change, and why; write nothing."),
        "apply": _in("plan", "apply", "Do exactly what a plan showed."),
        "run": _in("run", "run", "Begin, complete and judge runs: who looked at what, and what that proves."),
        "report": _in("report", "report", "Take in a report of a scanner, an alert manager or a test run."),
        "add": _in("edit", "add", "Add an item by hand."),
    },
    "Look": {
        "list": _in("list", "list_", "List items, by a query, an order, a view or the fix that clears them."),
        "search": _in("list", "search", "Search the texts of all items, closed ones too."),
        "show": _in("show", "show", "Show one item: its evidence, reports, links and history."),
        "log": _in("log", "log", "Show what was changed, when and by whom."),
        "dashboard": _in("dashboard", "dashboard_", "Show exact counts, and what is overdue."),
        "digest": _in("digest", "digest", "Tell what happened in a week, as text, Markdown, HTML or JSON."),
        "stats": _in("dashboard", "stats", "Count items by a field or several."),
        "view": _in("dashboard", "view", "Keep queries under a name."),
    },
    "Work": {
        "ready": _in("claims", "ready", "List what can be taken now."),
        "next": _in("claims", "next_", "Say which item to take next, and why."),
        "claim": _in("claims", "claim", "Take an item to work on it, for a while."),
        "release": _in("claims", "release", "Give a claimed item back."),
        "edit": _in("edit", "edit", "Set fields of items."),
        "move": _in("work", "move", "Move items along the workflow."),
        "close": _in("work", "close", "Close items, with a reason."),
        "reopen": _in("work", "reopen", "Reopen closed items, with a reason."),
        "snooze": _in("work", "snooze", "Let items sleep until a day or time."),
        "accept": _in("work", "accept", "Accept the risk of items until a day, with an approver."),
        "assign": _in("work", "assign", "Give items an owner."),
        "tag": _in("work", "tag", "Add tags to items and remove them."),
        "escalate": _in("escalate", "escalate", "Let the policy's steps fire that are due, and say whom to tell."),
        "deactivate": _in("escalate", "deactivate", "Close what is reported too seldom by now to stay open."),
        "comment": _in("say", "comment", "Add a comment to an item."),
        "link": _in("say", "link", "Link an item with another one, or part them."),
        "merge": _in("identity", "merge", "Make items one, for good, under the keys of all of them."),
        "split": _in("identity", "split", "Cut a key off from its item, for good."),
        "batch": _in("undo", "batch", "List what was changed lately, by batch."),
        "undo": _in("undo", "undo", "Set back what a command changed."),
    },
    "Keep": {
        "export": _in("transfer", "export", "Write everything as lines of JSON."),
        "import": _in("transfer", "import_", "Take in what export wrote."),
        "migrate": _in("transfer", "migrate", "Copy a whole backlog into another store, of any kind."),
        "backup": _in("backup", "backup", "Copy the whole backlog into one file, while others write."),
        "restore": _in("backup", "restore", "Make a store of a backup."),
        "cleanup": _in("keep", "cleanup", "Purge items closed long ago; what was decided about them stays."),
        "verify": _in("verify", "verify", "Prove that the history explains every item; seal it."),
        "spool": _in("spool", "spool", "See what was accepted while the database was away; drain it."),
        "key": _in("identity", "key", "Explain keys: what they were made of, and which names lead where."),
        "verdict": _in("keep", "verdict", "See and lift what was decided about keys."),
    },
    "Set up": {
        "serve": _in("serve", "serve", "Serve the pages and the HTTP API, to this machine or to who signs in."),
        "token": _in("token", "token", "Issue, rotate and revoke what programs sign in with."),
        "webhook": _in("webhook", "webhook", "Tell other services of changes: add, try, replay; see what came of it."),
        "person": _in("person", "person", "Say who may sign in to the pages, and what each may do."),
        "policy": _in("policy", "policy", "Check, try and apply the rules: priorities, owners, workflow and more."),
        "config": _in("config", "config", "Look at settings and set them."),
        "doctor": _in("doctor", "doctor", "Check the store, the settings and the installation."),
        "completion": _in("completion", "completion", "Print the completion script of a shell."),
        "schema": _in("schema", "schema", "Print the JSON Schema of items, drafts or events."),
    },
}


def _refuse_bytes(args: Sequence[str]) -> None:
    # Python keeps bytes that are no UTF-8 as lone surrogates, which no store, no query and no terminal takes.
    for number, arg in enumerate(args, 1):
        if not arg.isascii() and any("\ud800" <= letter <= "\udfff" for letter in arg):
            raise click.UsageError(
                f"Argument {number}, {arg[:60]!a}, is not UTF-8. Write it in UTF-8; rename a file of that name, "
                "or read from stdin."
            )


class Root(LazyGroup):
    """
    The command `backlog` itself.
    """

    # click overloads this by `standalone_mode`, which does not matter here.
    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """
        Run, tell what went wrong, and exit with the code that says so.
        """
        given = sys.argv[1:] if args is None else list(args)
        app = App()
        extra.pop("standalone_mode", None)
        if os.environ.get("_BACKLOG_COMPLETE", "").startswith("powershell"):
            from backlog_store.cli.powershell import register

            register()
        try:
            _refuse_bytes(given)
            code = super().main(given, prog_name or "backlog", standalone_mode=False, obj=app, **extra)
        except Exception as error:  # noqa: BLE001  (the one place where every error ends, and is told)
            code = tell_failure(app, error, as_json=app.json or "--json" in given)
        except KeyboardInterrupt as error:
            code = tell_failure(app, error, as_json=True)
        finally:
            app.close()
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """
        Run the command; a reader that closes the pipe has seen enough, which is no failure.
        """
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes stdout once more at its end: let that go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        return result


@click.group(
    "backlog",
    cls=Root,
    sections=SECTIONS,
    invoke_without_command=True,
    epilog="Run without a command to see what needs attention now. Guides: docs/guides; fields: docs/reference.",
)
@click.version_option(__version__, "-V", "--version", prog_name="backlog")
@click.pass_context
def cli(context: click.Context) -> None:
    """
    A durable engineering backlog that machines write and people work.
    """
    if context.invoked_subcommand is None:
        from backlog_store.cli.commands.attention import show_attention

        show_attention(context.ensure_object(App))


def _ready_streams() -> None:
    """
    Let nothing that is written fail for its letters, and let a stream that was closed from outside lead nowhere.

    Else the next file that is opened would have the number of that stream, and would get what others write to it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w" if number else "r", encoding="utf-8"))
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a code page has no bars, and not every name


def main() -> None:
    """
    Run the command line.
    """
    _ready_streams()
    cli.main()
