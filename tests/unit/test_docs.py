"""The documents agree with the code."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from benchmarks.__main__ import _parser as benchmark_options
from mlops.__main__ import parse
from mlops.config import PROJECT, Settings, defaults

README = (PROJECT / "README.md").read_text()
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]


def table(header: str) -> list[list[str]]:
    """Cells of each row of the README's table with this header."""
    rows = README[README.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


PACKAGES = sorted(path.parent for path in (PROJECT / "mlops").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_a_package_lists_its_modules(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    listed = [
        name
        for line in text.splitlines()
        if line.startswith("- `")
        for name in re.findall(r"`(\w+)`", line.partition(":")[0])
    ]
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted(listed) == sorted(modules | packages)


def test_the_table_of_rooms_is_the_folder() -> None:
    told = {row[0].strip("`") for row in table("| room |")}
    assert told == {path.parent.name for path in (PROJECT / "mlops").glob("*/__init__.py")}


def test_the_settings_table_holds_every_setting_with_its_default() -> None:
    told = {}
    for names, values, _ in table("| setting |"):
        for name, value in zip(names.split(", "), values.split(", "), strict=True):
            told[name.strip("`")] = None if value == "none" else yaml.safe_load(value.strip("`"))
    assert told == defaults()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_commands_exist(command: str) -> None:
    target = command.split()[1]
    assert re.search(rf"^{target}:.*##", (PROJECT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("command", [c for c in COMMANDS if "-m mlops" in c and "--help" not in c])
def test_command_lines_are_understood(command: str) -> None:
    words = shlex.split(command)
    options = parse(words[words.index("mlops") + 1 :])
    assert callable(options.act)


@pytest.mark.parametrize("command", [c for c in COMMANDS if "-m benchmarks" in c])
def test_benchmark_commands_are_understood(command: str) -> None:
    words = shlex.split(command)
    assert benchmark_options().parse_args(words[words.index("benchmarks") + 1 :]).what == "ablate"


@pytest.mark.parametrize("command", [c for c in COMMANDS if "mage run" in c])
def test_runtime_variables_are_understood(command: str) -> None:
    words = shlex.split(command)
    settings = Settings.parse(json.loads(words[words.index("--runtime-vars") + 1]))
    assert settings.service == "green"
    assert (PROJECT / "pipelines" / words[words.index("run") + 2] / "metadata.yaml").is_file()


def test_every_command_is_of_a_tested_kind() -> None:
    known = (
        "make ",
        ".venv/bin/mage run",
        ".venv/bin/python -m mlops",
        ".venv/bin/python -m benchmarks",
        "cp .env.example .env",
        "docker compose up",
    )
    assert COMMANDS
    assert [c for c in COMMANDS if not c.startswith(known)] == []


def test_links_lead_somewhere() -> None:
    for document in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize(
    "word",
    [
        "Trip",
        "Service",
        "Zone",
        "Month",
        "Training window",
        "Validation month",
        "Trial",
        "Challenger",
        "Champion",
    ],
)
def test_the_glossary_has_the_word(word: str) -> None:
    assert f"**{word}**" in README[README.index("## Words") :]


def test_documents_name_no_machine() -> None:
    for document in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]:
        assert not re.search(r"(?<!\w)/(home|root|Users)/", document.read_text()), document.name


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:3]) for path in Path(PROJECT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_client_and_server_are_one_version_of_mlflow() -> None:
    client = re.search(r"^mlflow-skinny==(\S+)", (PROJECT / "requirements.txt").read_text(), re.M)
    server = re.search(r"^mlflow==(\S+)", (PROJECT / "requirements-mlflow.txt").read_text(), re.M)
    assert client and server
    assert client[1] == server[1]
