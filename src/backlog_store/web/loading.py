"""
Everything that a request may need, loaded before the first one.

Commands load a module when they use it, to start fast. A service does not: whoever upgrades the package in place would
have it answer with half of one version and half of the next until it is restarted.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from backlog_store.web.pages.render import load_templates

__all__ = ["load_all"]

_PACKAGES = ("commands", "intake", "planning", "policy", "querylang", "rules", "taking", "web", "webhooks")
_MODULES = (
    "dashboard",
    "exportfile",
    "importing",
    "preview",
    "reading",
    "running",
    "seal",
    "transfer",
    "weekly",
    "work",
)


def load_all() -> None:
    """
    Import every module that a request may lead to, and compile every template. Takes some 0.3 s once a process.
    """
    for name in _MODULES:
        import_module(f"backlog_store.{name}")
    for name in _PACKAGES:
        package = import_module(f"backlog_store.{name}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            try:
                import_module(module.name)
            except ModuleNotFoundError as error:
                if (error.name or "").startswith("backlog_store"):
                    raise
                # An extra that is not installed: no request leads there.
    load_templates()
