"""
`backlog completion`.
"""

from __future__ import annotations

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, command
from backlog_store.cli.powershell import register

__all__ = ["completion"]

VARIABLE = "_BACKLOG_COMPLETE"


@command("completion", examples=(
    'eval "$(backlog completion bash)"        # in ~/.bashrc',
    'eval "$(backlog completion zsh)"         # in ~/.zshrc',
    "backlog completion fish > ~/.config/fish/completions/backlog.fish",
    "backlog completion powershell | Out-String | Invoke-Expression",
))  # fmt: skip
@click.argument("shell", type=Choice(["bash", "zsh", "fish", "powershell"]))
@pass_app
def completion(app: App, shell: str) -> None:
    """
    Print the completion script of a shell: commands, options, ids, fields, views and fixes.
    """
    from click.shell_completion import get_completion_class

    from backlog_store.cli.main import cli

    register()
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    # Not `source()`: that runs bash to learn its version, which says nothing about the shell that reads the script.
    complete = found(cli, {}, "backlog", VARIABLE)
    app.out(complete.source_template % complete.source_vars())
