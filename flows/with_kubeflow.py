"""Kubeflow Pipelines: the four steps as components of one image. All of them mount one volume, the state folder.

    python flows/with_kubeflow.py compile            write with_kubeflow.yaml, which Kubeflow runs
    python flows/with_kubeflow.py run [NAME=VALUE]   run the steps on this machine, each in a process of its own

`load_trips` is never started again: what is wrong with the settings is found there, and the setting
`source_patience` waits for a source that is away. The other steps are started again when their pod is lost.

Kubeflow reads the annotations of a component, so they are no texts here: no `from __future__ import annotations`.
"""

import sys
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes, local

from mlops import config

IMAGE, VOLUME, STATE = "trip-duration:latest", "trip-duration-state", "/state"
COMPILED = Path(__file__).with_suffix(".yaml")


def step(function: Any) -> Any:
    """A component that runs in the project's image, where everything is installed."""
    return dsl.component(function, base_image=IMAGE, install_kfp_package=False)


@step
def load_trips(settings: dict, months: dsl.Output[dsl.Dataset]):
    """Months of the run, fetched and checked."""
    from mlops.config import Settings
    from mlops.pipeline import block_tables, steps

    table = block_tables.of_months(steps.load_trips(Settings.parse(settings)))
    table.to_json(months.path, orient="records")


@step
def clean_trips(settings: dict, months: dsl.Input[dsl.Dataset], cleaned: dsl.Output[dsl.Dataset]):
    """Months with their clean trips."""
    import pandas as pd

    from mlops.config import Settings
    from mlops.pipeline import block_tables, steps

    loaded = block_tables.months_of(pd.read_json(months.path, dtype=False))
    table = block_tables.of_cleaned(steps.clean_trips(loaded, Settings.parse(settings)))
    table.to_json(cleaned.path, orient="records")


@step
def build_features(settings: dict, cleaned: dsl.Input[dsl.Dataset], features: dsl.Output[dsl.Dataset]):
    """Features of each month's trips."""
    import pandas as pd

    from mlops.config import Settings
    from mlops.pipeline import block_tables, steps

    months = block_tables.months_of(pd.read_json(cleaned.path, dtype=False))
    table = block_tables.of_features(steps.build_features(months, Settings.parse(settings)))
    table.to_json(features.path, orient="records")


@step
def train_and_register(
    settings: dict, features: dsl.Input[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]
) -> str:
    """The tested model, registered."""
    import pandas as pd

    from mlops.config import Settings
    from mlops.pipeline import block_tables, steps

    summary = block_tables.full_table(pd.read_json(features.path, dtype=False))
    result = steps.train_and_register(summary, Settings.parse(settings))
    if result.version:
        metrics.log_metric("test_rmse", float(result.version.tags["test_rmse"]))
    return f"{result.version.uri if result.version else ''} {result.outcome}: {result.reason}".strip()


@dsl.pipeline(name="trip-duration-training", description="Train, test and register a model for one month.")
def training(settings: dict = {}) -> str:  # noqa: B006  (Kubeflow's form shows the default)
    """The four steps."""
    loaded = load_trips(settings=settings)
    cleaned = clean_trips(settings=settings, months=loaded.outputs["months"])
    built = build_features(settings=settings, cleaned=cleaned.outputs["cleaned"])
    trained = train_and_register(settings=settings, features=built.outputs["features"])
    for task in (loaded, cleaned, built, trained):
        task.set_caching_options(False)  # the library knows what was done already
        kubernetes.mount_pvc(task, pvc_name=VOLUME, mount_path=STATE)
    for task in (cleaned, built, trained):
        task.set_retry(num_retries=3, backoff_duration="60s")
    return trained.outputs["Output"]


def main(command: str, *settings: str) -> None:
    """Compile the pipeline, or run it here with settings such as ``month=2023-03``."""
    if command == "compile":
        compiler.Compiler().compile(training, str(COMPILED))
        return
    given = dict(each.split("=", 1) for each in settings)
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(config.state_dir() / "kfp"))
    sys.stdout.write(f"{training(settings=given).output}\n")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["compile"])
