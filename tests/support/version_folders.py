"""Versions in folders, loaded here or in a process of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
from support.warm import run_warm

from mlops.model import version_code

PROJECT = Path(__file__).resolve().parents[2]


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


def foreign(folder: Path) -> Path:
    """A folder with a package of somebody else's that is called mlops."""
    (folder / "service" / "mlops").mkdir(parents=True)
    (folder / "service" / "mlops" / "__init__.py").touch()
    return folder / "service"
