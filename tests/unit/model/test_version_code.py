"""Each version answers with its own code, whatever else the process has loaded, or refuses."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.tracked import save_artefact
from support.warm import run_warm

from mlops.errors import MlopsError
from mlops.model import version_code
from mlops.model.duration_model import DurationModel
from mlops.registry import artifact
from mlops.registry.client import mlflow

PROJECT = Path(__file__).resolve().parents[3]
BEFORE = PROJECT / "tests" / "fixtures" / "version_before_rooms"
HALF_A_DAY_LATER = ("minute_of_day.astype(np.int16)", "((minute_of_day + 720) % 1440).astype(np.int16)")
Answers = list[list[float]]

# A process that knows nothing of this test. It loads all versions first, and asks them afterwards.
ASK = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas as pd
paths, requests, first = json.loads(sys.argv[1])
requests = pd.read_parquet(requests)
exec(first)
loaded = [mlflow.pyfunc.load_model(path) for path in paths]
answers = [model.predict(requests).to_numpy().tolist() for model in loaded]
files = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "mlops"]
print(json.dumps({"answers": answers, "mlops": files}))
"""
NO_MLOPS = """
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlops":
            raise ImportError("this process has no package mlops")
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def requests() -> pd.DataFrame:
    return make_requests(40).astype({"pickup_zone": np.int64, "dropoff_zone": np.int64})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of today's code, as MLflow writes it."""
    folder = tmp_path_factory.mktemp("version")
    package, artefact = artifact.write_code(folder), save_artefact(folder)
    mlflow.pyfunc.save_model(
        path=str(folder / "version"), loader_module=f"{package.name}.model", data_path=str(artefact),
        code_paths=[str(package)], pip_requirements=[],
    )  # fmt: skip
    return folder / "version"


@pytest.fixture
def version(sound: Path, tmp_path: Path) -> Path:
    """A copy of that version whose code no other test has."""
    copy = shutil.copytree(sound, tmp_path / "version")
    source(copy, "errors").write_text(f"{source(copy, 'errors').read_text()}# {uuid.uuid4()}\n")
    return copy


def source(version: Path, module: str) -> Path:
    (found,) = version.glob(f"code/*/**/{module}.py")
    return found


def edited(version: Path, copy: Path, module: str, *change: str) -> Path:
    """A copy of the version in which one text of its code is another."""
    shutil.copytree(version, copy)
    text = source(copy, module).read_text()
    assert text.count(change[0]) == 1
    source(copy, module).write_text(text.replace(*change))
    return copy


def package(version: Path) -> Path:
    return version_code.carried_package(version / "data" / "model")


def load(version: Path) -> Any:
    """The version's model, by today's loader."""
    return version_code.load_model(version / "data" / "model")


def answers(model: Any, requests: pd.DataFrame) -> Answers:
    return [[float(value) for value in row] for row in model.predict(requests).to_numpy()]


def ask(
    folder: Path, requests: pd.DataFrame, *versions: Path, first: str = "", options: tuple[str, ...] = ("-P",)
) -> dict[str, Any]:
    """What a process of its own answers for each version, after `first` ran in it."""
    path = folder / f"{uuid.uuid4()}.parquet"
    requests.to_parquet(path)
    command = [sys.executable, *options, "-c", ASK, json.dumps([[*map(str, versions)], str(path), first])]
    ended = (
        run_warm(command, cwd=folder)
        if options in ((), ("-P",))
        else subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    )
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


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
    other = edited(version, tmp_path / "other", "duration_model", "FORMAT = 2", "FORMAT = 3")
    about = other / "data" / "model" / "model.json"
    about.write_text(about.read_text().replace('"format": 2', '"format": 3'))
    expected = answers(load(version), requests)

    assert answers(load(other), requests) == expected
    shutil.copytree(version / "data", other / "data", dirs_exist_ok=True)
    with pytest.raises(Exception, match="expected model format 3; got 2") as refused:
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

    assert len(changed) == 11
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


def foreign(folder: Path) -> Path:
    """A folder with a package of somebody else's that is called mlops."""
    (folder / "service" / "mlops").mkdir(parents=True)
    (folder / "service" / "mlops" / "__init__.py").touch()
    return folder / "service"


# --- Versions of the flat layout ----------------------------------------------------------------------------


def recorded() -> tuple[pd.DataFrame, Answers]:
    """Requests, and what the old code answered for each."""
    kept = json.loads((BEFORE.parent / "answers_before_rooms.json").read_text())
    requests = pd.DataFrame(kept["requests"]).assign(
        pickup_at=lambda frame: pd.to_datetime(frame["pickup_at"])
    )
    return requests, [list(row.values()) for row in kept["answers"]]


def test_a_flat_version_answers_as_recorded_in_this_process(version: Path) -> None:
    requests, expected = recorded()
    before = {name for name in sys.modules if name.partition(".")[0] == "mlops"}
    today = load(version)
    answered = answers(today, requests)
    model = mlflow.pyfunc.load_model(str(BEFORE))

    assert answers(model, requests) == expected
    assert [[*model.get_raw_model().predict_one(r).values()] for r in requests.to_dict("records")] == expected
    assert answers(today, requests) == answered != expected
    assert {name for name in sys.modules if name.partition(".")[0] == "mlops"} - before <= {"mlops.model"}


OURS = f"sys.path.insert(0, {str(PROJECT)!r})\nimport mlops.config\n"


@pytest.mark.parametrize(
    ("first", "place"),
    [("", 0), ("", 1), (OURS, 0)],
    ids=["before a version of today", "after it", "after this project's code"],
)
def test_a_flat_version_answers_as_recorded_in_a_fresh_process(
    first: str, place: int, version: Path, tmp_path: Path
) -> None:
    requests, expected = recorded()
    old = shutil.copytree(BEFORE, tmp_path / "old")
    pair = [version]
    pair.insert(place, old)
    reported = ask(tmp_path, requests, *pair, first=first)

    assert reported["answers"][place] == expected
    assert reported["answers"][1 - place] == answers(load(version), requests)


def test_two_flat_versions_answer_side_by_side_after_this_projects_code(tmp_path: Path) -> None:
    requests, expected = recorded()
    old = shutil.copytree(BEFORE, tmp_path / "old")
    other = edited(old, tmp_path / "other", "features", *HALF_A_DAY_LATER)
    alone = answers(load(other), requests)
    reported = ask(tmp_path, requests, old, other, first=OURS)

    assert alone != expected
    assert reported["answers"] == [expected, alone]


def test_a_flat_version_refuses_where_another_mlops_is_imported(tmp_path: Path) -> None:
    requests, _ = recorded()
    old = shutil.copytree(BEFORE, tmp_path / "old")
    first = f"sys.path.insert(0, {str(foreign(tmp_path))!r})\nimport mlops\n"
    with pytest.raises(AssertionError, match=r"ModuleNotFoundError: No module named 'mlops\.model'"):
        ask(tmp_path, requests, old, first=first)


@pytest.mark.parametrize(
    ("line", "act"),
    [
        ("from mlops import intervals as other", lambda module: module.other.__name__),
        ("from mlops.intervals import Intervals as other", lambda module: module.other.__module__),
    ],
)
def test_absolute_imports_of_a_flat_version_mean_its_own_modules(
    line: str, act: Callable[[Any], str], tmp_path: Path
) -> None:
    old = shutil.copytree(BEFORE, tmp_path / "old")
    text = source(old, "model").read_text()
    source(old, "model").write_text(text + f'\nTEXT = """\nfrom mlops import kept\n"""\n{line}\n')
    module = version_code.import_package(package(old))

    assert act(module) == f"_{version_code.package_name(package(old))}.intervals"
    assert module.TEXT == "\nfrom mlops import kept\n"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (
            "import mlops.features as other",
            "line 1: expected relative imports; got 'import mlops.features as",
        ),
        ("from mlops.config import PROJECT", r"No module named '_trip_duration_\w{12}.config'"),
    ],
)
def test_what_a_version_does_not_carry_is_not_taken_from_elsewhere(
    line: str, refusal: str, version: Path
) -> None:
    source(version, "intervals").write_text(f"{line}  # {uuid.uuid4()}\n")
    with pytest.raises(ImportError, match=refusal):
        load(version)
