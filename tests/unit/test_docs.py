"""The documents agree with the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.documents import DOCUMENTS, GENERATED, PAGES, blocks, shown

from mlops.config import PROJECT

README = (PROJECT / "README.md").read_text()


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
    reported = {row[0].strip("`") for row in table("| room |")}
    assert reported == {path.parent.name for path in (PROJECT / "mlops").glob("*/__init__.py")}


def test_the_readme_is_short() -> None:
    assert len(README.split()) < 900


def test_the_readme_leads_to_every_page() -> None:
    """Or to one that leads there: pages are found from the README without the site."""
    reached, found = set(), [PROJECT / "README.md"]
    while found:
        document = found.pop()
        reached.add(document)
        linked = {(document.parent / target).resolve() for target, _ in links(document)}
        found += [path for path in linked - reached if path.suffix == ".md" and path.is_file()]
    apart = {
        path for path in PAGES if path.is_relative_to(PROJECT / "docs" / "reference")
    }  # of the site alone
    decisions = set((PROJECT / "docs" / "decisions").glob("*.md"))
    assert set(PAGES) - reached - apart - decisions == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_links_lead_somewhere(document: Path) -> None:
    """Pages of the site link to each other; what git does not hold is linked from nowhere else."""
    made = GENERATED if document in PAGES else []
    for target, anchor in links(document):
        path = (document.parent / target).resolve() if target else document
        assert path.exists() or path in made, f"{target} is not there"
        assert path in made or path not in GENERATED, f"{target} is not in the repository"
        if anchor and path not in made:
            assert anchor in anchors(path), f"{target}#{anchor}"


def links(document: Path) -> list[tuple[str, str]]:
    """File and anchor of every link that stays in this project."""
    prose = re.sub(r"^( *)```.*?^\1```", "", document.read_text(), flags=re.M | re.S)
    return re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", prose)


def anchors(document: Path) -> set[str]:
    """Names of the headings, as MkDocs makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_examples_in_python_are_python(document: Path) -> None:
    for example in blocks(document, "python"):
        compile(example, document.name, "exec")


@pytest.mark.parametrize(
    "word",
    [
        "Trip",
        "Service",
        "Zone",
        "Month",
        "Training window",
        "Validation month",
        "Test month",
        "Trial",
        "Rung",
        "Challenger",
        "Champion",
        "Promote",
        "Roll back",
        "Verdict",
        "Verification",
        "Run key",
        "Journal",
        "Pending result",
        "Backfill",
        "Backtest",
        "Cleanup",
        "Republished",
        "State folder",
        "Tracking server",
        "Source",
        "Fixed seed",
    ],
)
def test_the_glossary_has_the_word(word: str) -> None:
    concepts = (PROJECT / "docs" / "concepts.md").read_text()
    assert f"- **{word}**: " in concepts[concepts.index("## Glossary") :]


def test_documents_name_no_machine() -> None:
    for document in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]:
        assert not re.search(r"(?<!\w)/(home|root|Users)/", document.read_text()), document.name


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:3]) for path in Path(PROJECT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_client_and_server_are_one_version_of_mlflow() -> None:
    client = re.search(r"^mlflow-skinny==(\S+)", (PROJECT / "requirements.txt").read_text(), re.M)
    server = re.search(r"^mlflow\[auth\]==(\S+)", (PROJECT / "requirements-mlflow.txt").read_text(), re.M)
    assert client and server
    assert client[1] == server[1]
