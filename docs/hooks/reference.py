"""The reference pages that come from the code: settings, commands and their JSON, as Markdown.

`make docs` writes them with `python -m docs.hooks.reference docs/reference`, in the environment of the library.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from benchmarks.__main__ import _parser as benchmarks_parser
from docs.hooks.json_reference import json_page
from mlops import config
from mlops.command_line.parser import parser as mlops_parser
from mlops.command_line.setting_groups import GROUPS
from mlops.config import OPERATIONAL, PROJECT, Settings
from mlops.monitoring.settings import MonitoringSettings
from mlops.scoring.settings import ScoringSettings
from stack.__main__ import _parser as stack_parser

# Units of the settings that are numbers. A new number without a unit stops the build.
UNITS = {
    "publication_wait": "seconds",
    "source_patience": "seconds",
    "train_months": "months",
    "half_life_months": "months",
    "max_trials": "trials",
    "tuning_seconds": "seconds",
    "seed": "whole number",
    "min_rows_ratio": "multiple of the median",
    "max_rows_ratio": "multiple of the median",
    "max_rejections_ratio": "multiple of the median",
    "min_improvement": "share",
    "max_slice_regression": "share",
    "max_coverage_error": "share",
    "min_test_rows": "trips",
    "max_champion_age_months": "months",
    "max_error_growth": "share",
    "connect_timeout": "seconds",
    "tracking_patience": "seconds",
}
TEXTS = {
    "month": "YYYY-MM or next",
    "start_month": "YYYY-MM",
    "end_month": "YYYY-MM",
    "source": "name, folder or URL",
    "input": "file, folder or URL",
    "model": "name",
    "version": "alias or number",
    "to": "folder or URL",
    "table": "name",
    "experiment": "name",
    "experiment_note": "text",
}
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def settings_page() -> str:
    """Page of every setting with its default, its values and its meaning, and of the environment variables."""
    return "\n".join(
        [
            "# Settings",
            "",
            "Each setting is a variable of the Mage pipeline, an option of the command line (`max_trials` is "
            "`--max-trials`) and a field of `mlops.config.Settings`. An unknown name is refused, and the error "
            "names the nearest known one.",
            "",
            "A setting is part of the [run key](../concepts.md#run-key), so another value is another run. The "
            f"exceptions do not change the result: {', '.join(f'`{name}`' for name in OPERATIONAL)}.",
            "",
            *(
                line
                for title, names in GROUPS.items()
                for line in (f"## Training: {title}", "", *_settings_table(names), "")
            ),
            "## Settings of scoring",
            "",
            "Variables of the Mage pipeline that scores, options of `python -m mlops score`, and fields of "
            "`mlops.scoring.settings.ScoringSettings`.",
            "",
            *_settings_table(ScoringSettings.model_fields, ScoringSettings.model_fields),
            "",
            "## Settings of monitoring",
            "",
            "Variables of the Mage pipeline that compares months, options of `python -m mlops monitor`, and "
            "fields of `mlops.monitoring.settings.MonitoringSettings`.",
            "",
            *_settings_table(MonitoringSettings.model_fields, MonitoringSettings.model_fields),
            "",
            "## Environment variables",
            "",
            "They belong to a machine and not to a run.",
            "",
            *_table(("variable", "meaning"), _environment_variables()),
            "",
        ]
    )


def commands_page() -> str:
    """Page of the make targets and of every command with its options."""
    return "\n".join(
        [
            "# Commands",
            "",
            "## make",
            "",
            *_table(("target", "what it does"), _make_targets()),
            "",
            *(
                line
                for parser in (mlops_parser(), stack_parser(), benchmarks_parser())
                for line in _program(parser)
            ),
        ]
    )


def _settings_table(
    names: Iterable[str], fields: Mapping[str, FieldInfo] = Settings.model_fields
) -> Iterator[str]:
    rows = (
        (
            f"`{name}`",
            f"`{_shown(fields[name].default)}`",
            _values(name, fields[name]),
            fields[name].description,
        )
        for name in names
    )
    return _table(("setting", "default", "values", "meaning"), rows)


def _values(name: str, field: FieldInfo) -> str:
    """What a setting may be: its choices, or its unit with its bounds."""
    types = {field.annotation, *get_args(field.annotation)}
    if bool in types:
        return "true or false"
    if types & {int, float}:
        bounds = [
            f"{words} {getattr(limit, bound):,}"
            for limit in field.metadata
            for bound, words in BOUNDS.items()
            if hasattr(limit, bound)
        ]
        return ", ".join([UNITS[name], *bounds])
    if str in types:
        return TEXTS[name]
    return ", ".join(get_args(field.annotation))


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default in (None, "") else str(default)


def _environment_variables() -> Iterator[tuple[str, str]]:
    for name, text in re.findall(r"^``(\w+)``\n((?:    .+\n?)+)", config.__doc__ or "", re.M):
        yield f"`{name}`", _one_line(text).replace("``", "`")


def _make_targets() -> Iterator[tuple[str, str]]:
    """Every target with its variables, and what it does: the comments that `make help` shows."""
    for name, text in re.findall(
        r"^([a-z-]+):.*?##\s*(.+)$", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.M
    ):
        variables, _, meaning = text.partition(": ") if re.match(r"\[?[A-Z]+=", text) else ("", "", text)
        yield f"`{f'make {name} {variables}'.strip()}`", meaning


def _program(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Sections of a program: what it is for, then its arguments, or a section for each of its commands."""
    yield from (f"## {parser.prog}", "", *_text(parser.description))
    commands = next((a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)
    if commands is None:
        yield from _arguments(parser)
    else:
        helps = {choice.dest: choice.help for choice in commands._choices_actions}
        for name, command in commands.choices.items():
            yield from (f"### {name}", "", *_text(command.description or helps[name]))
            yield from _arguments(command)
    yield from _text(parser.epilog)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    given = [
        _names(action)[0] if action.required else f"[{_names(action)[0]}]"
        for action in actions
        if action.required or not action.option_strings
    ]
    options = ["[OPTIONS]"] if any(a.option_strings and not a.required for a in actions) else []
    yield from ("```text", " ".join([parser.prog, *given, *options]), "```", "")
    yield from _table(
        ("argument", "meaning"),
        ((", ".join(f"`{name}`" for name in _names(action)), _help(parser, action)) for action in actions),
    )
    yield ""
    if parser.epilog and parser.epilog.startswith("example"):
        yield from _text(parser.epilog)


def _names(action: argparse.Action) -> list[str]:
    """How an argument is written, with its value: `--model NAME`, `VERSION`."""
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if not action.option_strings:
        return [str(value)]
    return [name if action.nargs == 0 else f"{name} {value}" for name in action.option_strings]


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    # What Python up to 3.12 adds to the help of `--this, --no-this`, which has its default already.
    return re.sub(r" \(default: (True|False)\)$", "", text)


def _text(text: str | None) -> Iterator[str]:
    """Paragraphs of a description or an epilog; those with indented or aligned lines keep their lines."""
    for paragraph in (text or "").strip().split("\n\n"):
        if re.search(r"^  |\S {2,}\S", paragraph, re.M):
            yield from ("```text", paragraph, "```", "")
        elif paragraph:
            yield from (_one_line(paragraph), "")


def _table(header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---' for _ in header)} |"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main(folder: Path) -> None:
    """Write the pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")
    (folder / "json.md").write_text(json_page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
