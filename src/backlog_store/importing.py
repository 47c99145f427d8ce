"""
Importing whole packages ahead of their use.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

__all__ = ["import_all"]


@cache
def import_all(name: str) -> None:
    """
    Import a module and, if it is a package, all that is in it. Raises what importing raises.

    A process that lives long does so before it takes its first command: later it may be out of open files, or its disk
    may fail, and what it could not import it could not do.
    """
    import pkgutil  # who imports lazily needs none of it

    module = import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
        if not found.name.endswith(".__main__"):  # that would run it
            import_module(found.name)
