"""
`backlog demo`.
"""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.text import paint
from backlog_store.settings import path_url

__all__ = ["demo"]


@command("demo")
@click.option("--keep", type=click.Path(path_type=Path), metavar="FOLDER", help="Keep the store in this folder.")
@pass_app
def demo(app: App, keep: Path | None) -> None:
    """
    See it work, in under half a minute: real findings of real tools, reported, worked and reported again.
    """
    from backlog_store.demo import run

    with tempfile.TemporaryDirectory(prefix="backlog-demo-") as folder:
        place = keep.absolute() if keep else Path(folder)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = path_url("sqlite", place / "backlog.db")
        run(lambda args: _invoke(app, args, url), lambda text: app.out(f"\n{paint(text, 'bold', on=app.colored)}"))
    if keep:
        app.say(f"Kept: backlog --store {shlex.quote(url)}")


def _invoke(app: App, args: list[str], url: str) -> int:
    """
    Show a command line and run it on the demonstration's store; return its exit code.
    """
    from backlog_store.cli.main import cli

    shown = [Path(arg).name if arg.endswith(".sarif") else arg for arg in args]
    app.out(paint(f"$ backlog {shlex.join(shown)}", "dim", on=app.colored))
    try:
        cli.main([*args, "--store", url, "--no-pager", "--color", "always" if app.colored else "never"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    else:
        code = 0
    if code:
        raise click.ClickException(f"the demonstration stopped: `backlog {shlex.join(shown)}` failed with {code}")
    return code
