"""
The kinds of commands: global options anywhere on the line, lazy groups, suggestions for misspelt names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import click
from msgspec import Struct

from backlog_store.cli.app import App

__all__ = ["Choice", "Command", "Group", "LazyGroup", "Place", "command", "group"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _set(name: str, value: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, given: Any) -> None:
        if given not in (None, False):
            setattr(context.ensure_object(App), name, value(given))

    return callback


def _flag(key: str, value: str = "") -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, parameter: click.Parameter, given: Any) -> None:
        if given == "":
            # An empty variable of a script must not mean another store, or another name.
            raise click.UsageError(f"{parameter.opts[0]} is empty; leave it out for the one of the settings.")
        if given not in (None, False):
            context.ensure_object(App).flags[key] = value or given

    return callback


def global_options() -> list[click.Parameter]:
    """
    Return the options that every command takes, before or after its name.
    """

    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, is_eager=True, **more)

    return [
        option("--store", metavar="URL", callback=_flag("url"), help="The backlog to use (see `backlog config list`)."),
        option("--actor", metavar="NAME", callback=_flag("actor"), help="Who acts."),
        option("--as-machine", is_flag=True, callback=_flag("actor_kind", "machine"),
               help="Act as a machine: what people set stays as it is."),
        option("--no-input", is_flag=True, callback=_set("no_input", bool), help="Never ask."),
        option("--no-pager", is_flag=True, callback=_set("no_pager", bool), help="Never page long output."),
        option("--color", type=click.Choice(["auto", "always", "never"]), callback=_set("color", str),
               help="When to colour; NO_COLOR and FORCE_COLOR are obeyed."),
        option("--debug", is_flag=True, callback=_set("debug", bool), help="Show the traceback of an error."),
    ]  # fmt: skip


class Choice(click.Choice[str]):
    """
    One of several words; of a misspelt one, the nearest is named.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """
        Return the word, or fail.
        """
        words = [str(choice) for choice in self.choices]
        if isinstance(value, str) and self.normalize_choice(value, ctx) not in (
            self.normalize_choice(word, ctx) for word in words
        ):
            from difflib import get_close_matches

            near = get_close_matches(value, words, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(words)}."
            self.fail(f"there is no {value!r}. {hint}", param, ctx)
        return super().convert(value, param, ctx)


class Command(click.Command):
    """
    A command that takes the global options, too, and shows *examples* at the end of its help.
    """

    help_of_help = "Show this message; global options: `backlog --help`."

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        self.examples = tuple(examples)
        kwargs["context_settings"] = {**_CONTEXT, **kwargs.get("context_settings", {})}
        super().__init__(*args, **kwargs)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """
        Return the command's own options, and the global ones.
        """
        return [*super().get_params(ctx), *global_options()]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """
        Return ``--help``, which also says where the global options are explained.
        """
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = self.help_of_help
        return option

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """
        Write the options; the global ones are explained once, by `backlog --help`.
        """
        own = [param for param in super().get_params(ctx) if isinstance(param, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([record for param in own if (record := param.get_help_record(ctx)) is not None])
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """
        Write the examples, then what else stands at the end.
        """
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        super().format_epilog(ctx, formatter)


class Group(Command, click.Group):
    """
    A group of commands.
    """

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """
        Find the command; of a misspelt one, name the nearest.
        """
        if args and self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing and args[0][:1] != "-":
            refuse_unknown("command", args[0], self.list_commands(ctx), ctx)
        return super().resolve_command(ctx, args)


def refuse_unknown(kind: str, name: str, known: Sequence[str], ctx: click.Context | None = None) -> None:
    """
    Raise `click.UsageError` for a name that is not known, with the nearest one.
    """
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else f" Known are {', '.join(known)}."
    raise click.UsageError(f"There is no {kind} {name!r}.{hint}", ctx=ctx)


class Place(Struct, frozen=True):
    """
    Where a command lives: module, attribute, and its line in the overview (so that it need not be imported for that).
    """

    module: str
    attribute: str
    help: str


class LazyGroup(Group):
    """
    A group that imports a command when it is used. *sections* maps headings of the overview to names and places.
    """

    help_of_help = "Show this message."

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Place]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """
        Return the names of all commands, in the order of the overview.
        """
        return [name for places in self.sections.values() for name in places]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """
        Import a command.
        """
        for places in self.sections.values():
            if cmd_name in places:
                place = places[cmd_name]
                found: click.Command = getattr(import_module(place.module), place.attribute)
                return found
        return None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """
        Complete names of commands without importing them.
        """
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=place.help)
            for places in self.sections.values()
            for name, place in places.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """
        Write the overview by sections.
        """
        for heading, places in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name, place.help) for name, place in places.items()])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """
        Write the overview, then the global options.
        """
        self.format_commands(ctx, formatter)
        records = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        with formatter.section("Global options"):
            formatter.write_dl([record for record in records if record is not None])


def command(name: str, *, cls: type[Command] = Command, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """
    Make a command of a function; *examples* are lines shown at the end of its help.
    """
    return click.command(name, cls=cls, **more)


def group(name: str, **more: Any) -> Callable[[Callable[..., Any]], Group]:
    """
    Make a group of a function.
    """
    return click.group(name, cls=Group, **more)
