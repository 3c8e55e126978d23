"""What several commands have: their help, an option for each setting, and the model they work on."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mlops.command_line.setting_groups import GROUPS
from mlops.config import SCHEDULE, SERVICES, Settings
from mlops.errors import program

_METAVARS = {
    "service": "|".join(SERVICES),
    "month": "YYYY-MM|next",
    **dict.fromkeys(SCHEDULE, "YYYY-MM"),
    "source": "SOURCE",
    "on_busy": "wait|refuse",
    "require_approval": "never|borderline|always",
    "experiment": "NAME",
    "experiment_note": "TEXT",
    "input": "PATH|URL",
    "model": "NAME",
    "version": "VERSION",
    "to": "PLACE",
    "table": "NAME",
}


AS_JSON = "Print JSON for programs instead."  # help of the option `--json`


def add_command(parsers: Any, name: str, about: str, details: str = "", examples: str = "") -> Any:
    """A command whose help starts with the sentence that the list of commands shows, and ends with examples.

    Examples call the program ``python -m mlops``; the help shows them as this process was called.
    """
    shown = examples.replace("python -m mlops", program())
    return parsers.add_parser(
        name,
        help=about,
        description=f"{about}\n{details}".rstrip(),
        epilog=f"examples:\n{shown}" if examples else None,
    )


def add_model(command: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int]) -> None:
    """Add the option that names a registered model, and what the command does."""
    command.add_argument("--model", metavar="NAME", help="Registered model. (default: the only one)")
    command.set_defaults(act=act)


def add_settings(
    command: argparse.ArgumentParser, but: Sequence[str] = (), of: type[BaseModel] = Settings
) -> None:
    """An option for each setting, except those in `but`."""
    groups = GROUPS if of is Settings else {"settings": tuple(of.model_fields)}
    for title, names in groups.items():
        group = command.add_argument_group(title)
        for name in names:
            if name not in but:
                _add_setting(group, name, of.model_fields[name])


def _add_setting(group: Any, name: str, field: FieldInfo) -> None:
    option = f"--{name.replace('_', '-')}"
    described = f"{field.description} (default: {_shown(field.default)})"
    if field.annotation is bool:
        action = argparse.BooleanOptionalAction
        group.add_argument(option, dest=name, action=action, default=field.default, help=described)
    else:
        kind = next((t for t in (int, float) if t in (field.annotation, *get_args(field.annotation))), str)
        metavar = _METAVARS.get(name, kind.__name__.upper())
        group.add_argument(
            option, dest=name, type=kind, default=field.default, metavar=metavar, help=described
        )


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "none" if default in (None, "") else str(default)


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Values of the settings for which the command has an option."""
    return {name: getattr(options, name) for name in Settings.model_fields if hasattr(options, name)}
