"""Each version answers with its own code, whatever else the process has loaded."""

from __future__ import annotations

import gc
import importlib.util
import os
import py_compile
import shutil
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.version_folders import (
    BEFORE,
    HALF_A_DAY_LATER,
    PROJECT,
    answers,
    ask,
    edited,
    foreign,
    load,
    package,
    source,
)

from mlops.errors import MlopsError
from mlops.model import version_code
from mlops.model.duration_model import DurationModel

NO_MLOPS = """
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlops":
            raise ImportError("this process has no package mlops")
sys.meta_path.insert(0, Refuse())
"""


# --- A version beside another -------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True], ids=["changed copy last", "changed copy first"])
def test_a_version_and_its_changed_copy_answer_as_each_does_alone(
    swapped: bool, version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    """MLflow imports both under one name, that of their folder, so this is about what the loader does."""
    copy = edited(version, tmp_path / "copy", "features", *HALF_A_DAY_LATER)
    pair = (copy, version) if swapped else (version, copy)
    alone = [answers(load(one), requests) for one in pair]

    assert alone[0] != alone[1]
    assert ask(tmp_path, requests, *pair)["answers"] == alone


def test_two_artefact_formats_answer_side_by_side_and_refuse_each_others_files(
    version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    other = edited(version, tmp_path / "other", "duration_model", "FORMAT = 3", "FORMAT = 4")
    about = other / "data" / "model" / "model.json"
    about.write_text(about.read_text().replace('"format": 3', '"format": 4'))
    expected = answers(load(version), requests)

    assert answers(load(other), requests) == expected
    shutil.copytree(version / "data", other / "data", dirs_exist_ok=True)
    with pytest.raises(Exception, match="expected model format 2 or 4; got 3") as refused:
        load(other)
    assert type(refused.value).__name__ == "MlopsError"
    assert type(refused.value).__module__ == f"_{version_code.package_name(package(other))}.errors"


def test_threads_that_load_two_versions_at_once_get_one_module_of_each(
    version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    slow = ("import functools\n", "import functools\nimport time\ntime.sleep(0.3)\n")
    one = edited(version, tmp_path / "one", "encoder", *slow)
    two = edited(one, tmp_path / "two", "features", *HALF_A_DAY_LATER)
    together, found = threading.Barrier(8), dict[int, Any]()

    def work(number: int) -> None:
        together.wait()
        found[number] = load((one, two)[number % 2])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len({type(model) for model in found.values()}) == 2
    assert answers(found[0], requests) != answers(found[1], requests)
    assert [answers(found[number], requests) for number in (2, 3)] == [
        ask(tmp_path, requests, path)["answers"][0] for path in (one, two)
    ]


def test_threads_that_load_while_garbage_is_collected(version: Path, tmp_path: Path) -> None:
    """Parsing source makes objects, so a collection starts in it, and another thread may run meanwhile."""
    folders = [edited(version, tmp_path / str(number), "errors", "# ", f"# {number} ") for number in range(8)]

    def yield_to_others(phase: str, counts: dict[str, int]) -> None:
        time.sleep(0)

    gc.callbacks.append(yield_to_others)
    try:
        with ThreadPoolExecutor(len(folders)) as threads:
            loads = [threads.submit(load, folder) for folder in folders]
    finally:
        gc.callbacks.remove(yield_to_others)

    assert [load.exception() for load in loads] == [None] * len(folders)
    assert len({type(load.result()) for load in loads}) == len(folders)


def test_the_same_code_is_imported_once(version: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(version, tmp_path / "copy")
    text = source(copy, "features").read_bytes()
    source(copy, "features").write_bytes(text.replace(b"\n", b"\r\n"))

    assert type(load(version)) is type(load(copy))
    assert type(load(version)) is not DurationModel


def test_loading_leaves_no_finder_behind(version: Path) -> None:
    before = sys.meta_path[:]
    load(version)
    source(version, "encoder").write_text("raise ImportError('no such thing')")
    with pytest.raises(ImportError, match="no such thing"):
        load(version)
    with pytest.raises(ImportError, match="no such thing"):  # no half of it is taken for the whole
        load(version)

    assert sys.meta_path == before


# --- Names of code ------------------------------------------------------------------------------------------


def test_the_name_follows_from_every_module_but_not_from_line_endings(version: Path, tmp_path: Path) -> None:
    name = version_code.package_name(package(version))
    changed = {name}
    for path in sorted(package(version).rglob("*.py")):
        text = path.read_bytes()
        path.write_bytes(text.replace(b"\n", b"\r\n"))
        assert version_code.package_name(package(version)) == name
        path.write_bytes(text + b"#")
        changed.add(version_code.package_name(package(version)))
        path.write_bytes(text)
    source(version, "errors").rename(package(version) / "mistakes.py")
    changed.add(version_code.package_name(package(version)))

    assert len(changed) == 18
    assert all(len(name) == len("trip_duration_") + 12 for name in changed)


def test_code_with_line_endings_of_windows_answers_the_same(
    version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    expected = [answers(load(version), requests)]
    for path in package(version).rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert ask(tmp_path, requests, version)["answers"] == expected


# --- What lies beside the artefact --------------------------------------------------------------------------


def test_a_version_without_code_is_refused(version: Path) -> None:
    code, artefact = package(version).parent, version / "data" / "model"
    shutil.rmtree(package(version))
    with pytest.raises(MlopsError) as refused:
        load(version)

    assert str(refused.value) == f"{artefact}: expected the version's code, one package in {code}; got none"


def test_a_version_with_two_packages_is_refused(version: Path) -> None:
    shutil.copytree(package(version), package(version).with_name("mlops"))
    with pytest.raises(MlopsError, match=r"got \['mlops', 'trip_duration_\w{12}'\]$"):
        load(version)


@pytest.mark.parametrize("old", [False, True], ids=["today's layout", "flat layout"])
def test_a_loaded_version_does_not_need_its_folder(
    old: bool, version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    if old:
        version = shutil.copytree(BEFORE, tmp_path / "before")
    entry, dot = ("model", "mlops.") if old else ("duration_model", ".")
    with source(version, entry).open("a") as code:
        code.write(
            f"\n\ndef late():\n    from {dot}late import ANSWER\n\n    return ANSWER\n# {uuid.uuid4()}\n"
        )
    source(version, entry).with_name("late.py").write_text("ANSWER = 42\n")
    expected = answers(load(shutil.copytree(version, tmp_path / "copy")), requests)
    model = load(version)
    shutil.rmtree(version)
    shutil.rmtree(tmp_path / "copy")

    assert answers(model, requests) == expected
    one_by_one = [[*model.predict_one(row).values()] for row in requests.to_dict("records")]
    assert one_by_one == expected
    assert sys.modules[type(model).__module__].late() == 42


def test_the_code_that_answers_is_never_taken_from_cached_bytecode(
    version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    """Python takes the cache of a source with the same size and second; here that is another source's."""
    expected = [answers(load(version), requests)]
    for module in ("duration_model", "features", "encoder"):
        path = source(version, module)
        text, times = path.read_bytes(), (1_700_000_000, 1_700_000_000)
        path.write_bytes(b"raise ImportError('another version')".ljust(len(text)))
        os.utime(path, times)
        py_compile.compile(str(path))
        path.write_bytes(text)
        os.utime(path, times)
        assert Path(importlib.util.cache_from_source(str(path))).is_file()

    assert ask(tmp_path, requests, version)["answers"] == expected


def test_loading_writes_no_bytecode_of_the_code_that_answers(
    version: Path, requests: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    before = {path for path in version.rglob("*") if path.is_file()}
    ask(tmp_path, requests, version)
    written = {path for path in version.rglob("*") if path.is_file()} - before

    # MLflow's own import of the loader, whose code answers nothing.
    assert {path.name.partition(".")[0] for path in written} == {"__init__", "version_code", "errors"}


# --- A version beside other packages called mlops -----------------------------------------------------------


def test_a_version_needs_nothing_of_this_project(
    version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    reported = ask(tmp_path, requests, version, first=NO_MLOPS, options=("-I",))

    assert reported["answers"] == [answers(load(version), requests)]
    assert reported["mlops"] == []


@pytest.mark.parametrize(
    ("installed", "imported"),
    [(True, True), (False, True), (False, False)],
    ids=["ours installed too", "ours not installed", "not imported yet"],
)
def test_a_version_answers_in_a_service_with_its_own_package_mlops(
    installed: bool, imported: bool, version: Path, requests: pd.DataFrame, tmp_path: Path
) -> None:
    first = f"sys.path = [path for path in sys.path if {installed} or path != {str(PROJECT)!r}]\n"
    first += f"sys.path.insert(0, {str(foreign(tmp_path))!r})\n" + "import mlops\n" * imported
    reported = ask(tmp_path, requests, version, first=first)

    assert reported["answers"] == [answers(load(version), requests)]
    assert reported["mlops"] == [str(tmp_path / "service" / "mlops" / "__init__.py")] * imported
