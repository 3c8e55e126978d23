"""The documented recipe of a feature of one's own, in a copy of the project, from requests to the service."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.documents import blocks
from support.doors import PROJECT, Machine, with_store
from support.tracked import fitted

from mlops.model import version_code
from mlops.model.duration_model import DurationModel
from mlops.pipeline import run_key

NAME = "hours_to_next_holiday"
PLACE = "mlops/model/own_features.py"
LAST_LINE = "OWN_FEATURES: tuple[OwnFeature, ...] = ()\n"
RECIPE = blocks(PROJECT / "docs" / "own_ideas.md", "python")[0]
COPIED = ("mlops", "data_loaders", "transformers", "data_exporters", "requirements.txt")

# What the blocks do, and then the service: in a process of its own, whose `mlops` is that of its folder.
STORY = (
    f"""
import json, sys
PLACE = {PLACE!r}
"""
    + """
from pathlib import Path
import pandas as pd
from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError
from mlops.pipeline import run_key, steps
from mlops.registry import loading
from mlops.serving.served import Served

settings = Settings(**json.loads(sys.argv[1]))
months = steps.load_trips(settings)
cleaned = steps.clean_trips(months, settings)
summary = steps.build_features(cleaned, settings)
result = steps.train_and_register(summary, settings)
served = Served.of(loading.load(result.version, Path("store")))  # it answers its own example alone and in a batch
asked = pd.read_parquet("requests.parquet")
code = run_key.inputs()["code"]
Path(PLACE).write_text(Path(PLACE).read_text().replace('"h"', '"m"'))  # in the editor, without a restart
try:
    refused = str(steps.build_features(cleaned, settings))
except ConfigError as error:
    refused = str(error)
print(json.dumps({
    "project": str(config.PROJECT),
    "summary": summary.set_index("feature")[["meaning", "least", "mean", "most"]].to_dict("index"),
    "code": code, "refused": refused,
    "features": list(served.model.features),
    "batch": served.model.predict(asked)["duration_minutes"].tolist(),
    "alone": [served.model.predict_one(row)["duration_minutes"] for row in asked.to_dict("records")],
    "tags": result.version.tags, "run_id": result.version.run_id,
    "folder": str(next(Path("store").rglob("model.json")).parent.absolute()),
}))
"""
)


@dataclass(frozen=True)
class Trained:
    """A copy of the project with the recipe, and what its process printed."""

    machine: Machine
    said: dict[str, Any]
    requests: pd.DataFrame

    @property
    def model(self) -> Any:
        """The registered version, loaded in this process, whose own code has no such feature."""
        return version_code.load_model(self.said["folder"])


def copy_of_the_project(target: Path) -> Path:
    for name in COPIED:
        source, copy = PROJECT / name, target / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy)
    return target


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, months: Path, migrated_store: Path) -> Trained:
    folder = tmp_path_factory.mktemp("own_feature")
    (folder / "project").mkdir()
    project = copy_of_the_project(folder / "project")
    text = (project / PLACE).read_text()
    assert text.endswith(LAST_LINE)
    (project / PLACE).write_text(text.removesuffix(LAST_LINE) + RECIPE)
    requests = make_requests(12)
    requests.to_parquet(project / "requests.parquet")
    machine = with_store(Machine(folder / "machine", months), migrated_store)
    settings = machine.settings(max_trials=1, compare_course=False)
    ended = machine.run(sys.executable, "-c", STORY, json.dumps(settings), cwd=project)
    assert ended.status == 0, ended.output
    return Trained(machine, json.loads(ended.stdout.splitlines()[-1]), requests)


def test_the_table_of_features_shows_it(trained: Trained) -> None:
    row = trained.said["summary"][NAME]
    assert row["meaning"].startswith("hours to the start of the next public holiday of New York")
    assert 0 <= row["least"] < row["mean"] < row["most"] < 24 * 100


def test_only_its_file_changes_the_run_key(trained: Trained) -> None:
    assert trained.said["project"] != str(PROJECT)
    ours = run_key.inputs()["code"]
    assert [name for name, known in trained.said["code"].items() if ours.get(name) != known] == [PLACE]


def test_the_model_and_the_card_have_it(trained: Trained) -> None:
    assert NAME in trained.said["features"]
    folder = Path(trained.machine.client.download_artifacts(trained.said["run_id"], ""))
    cards = [path for path in folder.rglob("*") if path.suffix in (".md", ".html")]
    assert any(NAME.replace("_", " ") in path.read_text().replace("_", " ") for path in cards), cards


def test_the_version_was_verified_and_alone_is_as_in_a_batch(trained: Trained) -> None:
    assert trained.said["tags"]["verdict"]
    assert trained.said["tags"]["outcome"]
    np.testing.assert_allclose(trained.said["alone"], trained.said["batch"], rtol=0, atol=1e-9)


def test_a_change_without_a_restart_of_the_kernel_is_refused(trained: Trained) -> None:
    assert trained.said["refused"].startswith(f"{PLACE} changed after this process had loaded it")


def test_versions_with_and_without_it_answer_in_one_process(trained: Trained, tmp_path: Path) -> None:
    """This process has the code without it."""
    without = DurationModel.load(fitted(seed=0).save(tmp_path / "model"))
    before = without.predict(trained.requests)
    with_it = trained.model

    assert with_it.predict(trained.requests)["duration_minutes"].tolist() == trained.said["batch"]
    assert NAME in with_it.features
    assert NAME not in without.features
    pd.testing.assert_frame_equal(without.predict(trained.requests), before)
