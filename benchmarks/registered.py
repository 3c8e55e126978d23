"""A registry with one version, the champion, and the course's model: what the measurements of use ask.

The version is our default run for the last test month. It is registered, signed and promoted as a run does it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import by_month, data, ours
from benchmarks.cells import Cell, Job
from benchmarks.plan import Bench

MODEL_CELL, VERSION_CELL, COURSE_CELL = "use/model", "use/version", "use/course's model"
LEARNT = (
    "mlops/config.py", "mlops/model/*.py", "mlops/training/*.py", "mlops/evaluation/*.py", "benchmarks/ours.py",
    "requirements.txt",
)  # fmt: skip
"""Code that our model depends on; that of its data is in the months' own cells."""
REGISTERED = ("mlops/model/*.py", "mlops/registry/*.py", "benchmarks/registered.py")
COURSE = (
    "mlops/training/baselines.py",
    "benchmarks/course.py",
    "benchmarks/registered.py",
    "requirements.txt",
)


def cells(bench: Bench) -> list[Cell]:
    """Our model, the registry with it, and the course's model."""
    test = bench.test_months[-1]
    model = replace(by_month.default_cell(bench, MODEL_CELL, test), code=LEARNT)
    months = (*bench.history(test)[-1:], bench.validation(test))
    version = Cell(
        VERSION_CELL, "benchmarks.registered:register_model", {"name": model_name(bench), "test": test},
        REGISTERED, after=(MODEL_CELL, data.month_cell(test)), expected_seconds=30,
    )  # fmt: skip
    course = Cell(
        COURSE_CELL, "benchmarks.registered:fit_course", {"months": list(months)}, COURSE,
        after=tuple(map(data.month_cell, months)), expected_seconds=16,
    )  # fmt: skip
    return [model, version, course]


def model_name(bench: Bench) -> str:
    """Name of the registered model."""
    return f"trip-duration-{bench.service}"


def register_model(job: Job, name: str, test: str) -> dict[str, Any]:
    """The model as version 1 and champion of a registry in the folder ``state``."""
    from mlops.registry import alias_log, artifact, run_lifecycle, versions
    from mlops.registry.client import connect

    use(job.folder / "state")
    connect(f"sqlite:///{job.folder / 'state' / 'mlflow.db'}", job.folder / "state", 30.0)
    model = job.before[MODEL_CELL]
    requests, _ = ours.requests_and_minutes(data.clean_path(job, test))
    with run_lifecycle.start_run(name, test, key := "0" * 64) as run:
        logged = artifact.log_model(
            run.run_id, run.experiment_id, Path(model.folder) / "model", requests.head(3)
        )
        tags = {"test_month": test, "test_rmse": f"{model.values['rmse']:.6f}"}
        version = versions.register(name, logged, run.run_id, key, tags)
    alias_log.move(
        name, alias_log.CHAMPION, version.number, by="benchmark", verdict="promote", reason="the only one"
    )
    return {"version": version.number}


def state_of(job: Job) -> Path:
    """State folder with the registry; the signing key and checked copies of versions are in it, too."""
    return Path(job.before[VERSION_CELL].folder) / "state"


def use(state: Path) -> None:
    """Make this process, and those that it starts, use a state folder."""
    state.mkdir(parents=True, exist_ok=True)
    os.environ["MLOPS_STATE_DIR"] = str(state)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def fit_course(job: Job, months: Sequence[str]) -> dict[str, Any]:
    """The course's recipe: one month for training, the next for early stopping."""
    from mlops.training.baselines import CourseRecipe, read_trips

    training, validation = (read_trips(data.clean_path(job, month)) for month in months)
    recipe = CourseRecipe.fit(training, validation, threads=job.threads)
    recipe.booster.save_model(job.folder / "booster.ubj")
    (job.folder / "booster.json").write_text(
        _for_older_xgboost(recipe.booster.save_raw("json")), encoding="utf-8"
    )
    (job.folder / "columns.json").write_text(json.dumps(recipe.vectorizer.feature_names_), encoding="utf-8")
    return {"columns": len(recipe.vectorizer.feature_names_), "trees": recipe.booster.num_boosted_rounds()}


def _for_older_xgboost(model: bytearray) -> str:
    """The model for the peers' XGBoost 2, which ignores a base score that is a list, as version 3 writes it."""
    content = json.loads(model)
    parameters = content["learner"]["learner_model_param"]
    parameters["base_score"] = parameters["base_score"].strip("[]")
    return json.dumps(content)


# Batch scoring


def score(state: Path, raw: Path, name: str, folder: Path) -> list[Path]:
    """Score a file with the champion as `python -m mlops score` does; the files that were written."""
    from mlops.scoring.score import score
    from mlops.scoring.settings import ScoringSettings

    use(state)
    score(ScoringSettings(input=str(raw), model=name, to=str(folder)))
    return sorted(folder.glob("*.parquet"))


def scorer(state: Path, raw: Path, name: str, folder: Path) -> Callable[[], int]:
    """Function that scores a file with the champion, loaded before; it returns the number of answered rows."""
    from mlops import config
    from mlops.registry import loading
    from mlops.scoring.exports import open_export
    from mlops.scoring.inputs import find_inputs
    from mlops.scoring.results import write_result
    from mlops.scoring.score import connect
    from mlops.scoring.settings import ScoringSettings

    use(state)
    settings = ScoringSettings(input=str(raw), model=name, to=str(folder))
    connect(settings)
    loaded = loading.load(loading.choose(name, "champion"), config.state().versions)
    export = open_export(settings.to)

    def run() -> int:
        (file,) = find_inputs(settings)
        with export.drafts(file.stem) as drafts:
            summary = write_result(file, loaded, drafts)
            export.put(drafts)
        return int(summary["answered"])

    return run


def rows_of(path: Path) -> int:
    """Number of rows in a Parquet file."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)
