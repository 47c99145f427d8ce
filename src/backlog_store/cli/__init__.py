"""
The command `backlog`: it parses, makes a command or a query, and prints the answer. It holds no rules.
"""

from __future__ import annotations

import gc

__all__ = ["run"]


def run() -> None:
    """
    Run the command line, as a program of its own.
    """
    # What importing makes stays to the end: to look through it for garbage again and again is a tenth of a command.
    gc.disable()
    from backlog_store.cli.main import main

    gc.freeze()
    gc.enable()
    main()
