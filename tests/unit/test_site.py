"""The documentation site: generated pages are complete, and nothing is loaded from other hosts."""

from __future__ import annotations

import argparse
import ast
import doctest
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.__main__ import _parser as benchmarks_parser
from docs.hooks import pages, reference
from mlops.command_line.parser import parser as mlops_parser
from mlops.config import PROJECT, CheckedSettings, Settings
from mlops.monitoring.settings import MonitoringSettings
from mlops.scoring.settings import ScoringSettings
from stack.__main__ import _parser as stack_parser

DOCS = PROJECT / "docs"
PYTHON_PAGES = sorted((DOCS / "reference" / "python").glob("*.md"))


def site() -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load((PROJECT / "mkdocs.yml").read_text())
    return described


def tables(markdown: str) -> list[list[str]]:
    """Cells of every table row but the headers, without the marks of code."""
    rows = [
        line for line in re.sub(r"(?m)^\|.*\n\| ---.*\n", "", markdown).splitlines() if line.startswith("|")
    ]
    return [
        [cell.strip().replace("`", "").replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        for row in rows
    ]


# --- Settings -------------------------------------------------------------------------------------------------


KINDS = (Settings, ScoringSettings, MonitoringSettings)


def settings_of(kind: type[CheckedSettings]) -> dict[str, list[str]]:
    """Rows of the settings page about settings of training, of scoring or of monitoring."""
    parts = re.split(r"## Settings of (?:scoring|monitoring)", reference.settings_page())
    found = tables(dict(zip(KINDS, parts, strict=True))[kind])
    return {row[0]: row for row in found if len(row) == 4}


@pytest.mark.parametrize("kind", KINDS)
def test_the_settings_page_has_every_setting_with_its_default(kind: type[CheckedSettings]) -> None:
    defaults = {name: row[1] for name, row in settings_of(kind).items()}
    read = {name: None if text == "none" else yaml.safe_load(text) for name, text in defaults.items()}
    assert read == {name: None if value == "" else value for name, value in kind().model_dump().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_settings_page_has_every_meaning(kind: type[CheckedSettings]) -> None:
    rows = settings_of(kind)
    for name, field in kind.model_fields.items():
        assert rows[name][3] == field.description
        assert rows[name][2]


def test_the_settings_page_has_units() -> None:
    rows = settings_of(Settings)
    assert rows["connect_timeout"][2] == "seconds, more than 0, at most 300"
    assert rows["max_trials"][2] == "trials, at least 1, at most 10,000"
    assert rows["on_busy"][2] == "wait, refuse"


def test_the_settings_page_has_the_environment_variables() -> None:
    rows = dict(row for row in tables(reference.settings_page()) if len(row) == 2)
    names = ("MLOPS_STATE_DIR", "MLFLOW_TRACKING_URI", "MLOPS_THREADS", "MLOPS_MAX_MONTH_SIZE", "LOCK_URL")
    assert rows.keys() == set(names)
    assert all(rows.values())


# --- Commands -------------------------------------------------------------------------------------------------


def arguments(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a program's commands by name, or the program's own."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {parser.prog: parser}


def section(heading: str) -> str:
    page = reference.commands_page()
    found = re.search(rf"^(##+) {re.escape(heading)}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
    assert found, heading
    return found[2]


@pytest.mark.parametrize(
    "program", [mlops_parser(), stack_parser(), benchmarks_parser()], ids=lambda p: p.prog
)
def test_the_commands_page_has_every_argument_with_its_help(program: argparse.ArgumentParser) -> None:
    for name, parser in arguments(program).items():
        rows = dict(tables(section(name)))
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            wanted = action.option_strings or [action.metavar or action.dest.upper()]
            if action.choices and not action.option_strings:
                wanted = ["|".join(action.choices)]
            (about,) = [text for row, text in rows.items() if set(wanted) <= set(re.split(r",? ", row))]
            text = str(action.help).split("%")[0].split(" (default: ")[0].replace("`", "")
            assert text and about.startswith(text), (name, wanted)


def test_the_commands_page_says_what_a_command_does() -> None:
    assert section("doctor").strip().startswith("Check this machine, the servers and the registry")
    assert "python -m mlops promote VERSION --reason REASON [OPTIONS]\n" in section("promote")
    assert "\n  python -m mlops train --service green --month 2023-10 --source tlc\n" in section("train")
    assert "(default: yes) (default" not in reference.commands_page()


def test_the_commands_page_has_every_stack_command() -> None:
    (commands,) = [action.choices for action in stack_parser()._actions if action.dest == "command"]
    listed = re.findall(r"^([\w-]+) {2,}\S", section("python -m stack"), re.M)
    assert listed == list(commands)


def test_the_commands_page_has_every_make_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (PROJECT / "Makefile").read_text(), re.M)
    listed = [row[0].split()[1] for row in tables(section("make"))]
    assert listed == targets
    assert "make train SERVICE=green MONTH=2023-10 SOURCE=tlc" in reference.commands_page()


def test_pages_are_written(tmp_path: Path) -> None:
    reference.main(tmp_path / "reference")
    assert (tmp_path / "reference" / "settings.md").read_text() == reference.settings_page()
    assert (tmp_path / "reference" / "commands.md").read_text() == reference.commands_page()


# --- Python ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda path: path.stem)
def test_a_python_page_names_what_is_there(page: Path) -> None:
    """The plugin that builds these pages leaves out names that it does not find."""
    named = re.findall(r"^::: (\S+)\n(?:    options:\n      members: \[(.*)\])?", page.read_text(), re.M)
    assert named
    for module, members in named:
        tree = ast.parse((PROJECT / f"{module.replace('.', '/')}.py").read_text())
        defined = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        assert set(filter(None, members.split(", "))) <= {node.name for node in defined}, module
        assert all(ast.get_docstring(node) for node in defined if node.name in members.split(", ")), module


# --- The site -------------------------------------------------------------------------------------------------


def test_nothing_is_loaded_from_other_hosts() -> None:
    described = site()
    assert described["theme"]["font"] is False
    assert not {"extra_javascript", "repo_url", "site_url"} & described.keys()
    assert "analytics" not in described.get("extra", {})
    assert not any(re.search(r"https?:", str(entry)) for entry in described["extra_css"])
    assert {
        name for entry in described["plugins"] for name in ([entry] if isinstance(entry, str) else entry)
    } == {
        "search",
        "mkdocstrings",
    }


def test_no_page_needs_a_script_to_draw() -> None:
    assert [path for path in DOCS.rglob("*.md") if "```mermaid" in path.read_text()] == []


def test_any_broken_link_or_page_outside_the_navigation_is_a_warning() -> None:
    checks = site()["validation"]
    assert set(checks["nav"].values()) | set(checks["links"].values()) == {"warn"}
    assert {"not_found", "anchors", "absolute_links", "unrecognized_links"} == checks["links"].keys()
    assert re.search(r"mkdocs build --strict$", (PROJECT / "Makefile").read_text(), re.M)


def test_sources_of_the_python_reference_are_not_imported() -> None:
    (options,) = [entry["mkdocstrings"] for entry in site()["plugins"] if "mkdocstrings" in entry]
    assert options["handlers"]["python"]["options"]["allow_inspection"] is False


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://a.org/a.js"></script>',
        '<link rel="stylesheet" href="//a.org/a.css">',
        '<img src="http://a.org/a.png">',
        '<img srcset="a.png 1x, https://a.org/b.png 2x">',
        '<iframe src="https://a.org/"></iframe>',
        "<style>@import 'https://a.org/a.css';</style>",
        '<p style="background: url(https://a.org/a.png)">',
    ],
)
def test_a_page_that_loads_from_another_host_is_found(html: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "page.html").write_text(f"<p>{html}")
    (found,) = pages.loads_from_other_hosts(tmp_path)
    assert re.match(r"deep/page.html: (https?:)?//a\.org/", found)


def test_a_style_sheet_that_loads_from_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text('@font-face { src: url("https://a.org/a.woff2") }')
    assert pages.loads_from_other_hosts(tmp_path) == ["a.css: https://a.org/a.woff2"]


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://a.org">a link</a>',
        '<link rel="canonical" href="https://a.org/page.html">',
        '<script src="../a.js"></script>',
        '<img src="data:image/png;base64,//8=">',
        "<p>https://a.org</p>",
    ],
)
def test_links_and_own_files_are_allowed(html: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(html)
    assert pages.loads_from_other_hosts(tmp_path) == []


def test_examples_of_the_hooks_are_right() -> None:
    assert doctest.testmod(pages).attempted >= 4
    assert doctest.testmod(pages).failed == 0
