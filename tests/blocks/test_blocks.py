"""The blocks: their files, and their functions called one after another without Mage."""

from __future__ import annotations

import ast
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import yaml
from mage_ai.shared.croniter import croniter
from support.doors import (
    BLOCKS,
    MAINTENANCE,
    MAINTENANCE_BLOCKS,
    MONITORING,
    MONITORING_BLOCKS,
    PIPELINE,
    PROJECT,
    SCORING,
    SCORING_BLOCKS,
    Machine,
    write_months,
)

from mlops.config import CheckedSettings
from mlops.errors import DataQualityError, MlopsError, TripSchemaError
from mlops.monitoring.settings import MonitoringSettings
from mlops.operations.retention import cleanup
from mlops.pipeline.block_tables import full_table
from mlops.scoring.settings import ScoringSettings

FOLDERS = ("data_loaders", "transformers", "data_exporters", "sensors", "callbacks", "conditionals", "charts")
FILES = sorted(path for folder in FOLDERS for path in (PROJECT / folder).glob("*.py"))
STEPS = [
    path for path in FILES if path.parent.name not in ("callbacks", "charts")
]  # blocks that return a table and test it
PIPELINES = sorted((PROJECT / "pipelines").glob("*/metadata.yaml"))
TRIGGERS = sorted((PROJECT / "pipelines").glob("*/triggers.yaml"))
MOST_LINES = 20


def load(path: Path) -> ModuleType:
    """Import a block's file on its own: Mage's decorators then return the function that they decorate."""
    spec = importlib.util.spec_from_file_location(f"block_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decorated(path: Path, decorator: str) -> list[str]:
    """Names of the functions with a decorator."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return [
        f.name for f in functions if decorator in [d.id for d in f.decorator_list if isinstance(d, ast.Name)]
    ]


def lines_of_code(path: Path) -> int:
    """Number of lines that are not blank, comment or docstring."""
    tree = ast.parse(path.read_text())
    prose: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.update(range(node.lineno, node.end_lineno + 1 if node.end_lineno else node.lineno + 1))
    lines = enumerate(path.read_text().splitlines(), start=1)
    return sum(
        1 for n, line in lines if line.strip() and not line.lstrip().startswith("#") and n not in prose
    )


def read(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


# --- files -------------------------------------------------------------------------------------


def test_the_folders_hold_the_pipeline_s_blocks() -> None:
    reported = {"notify": "callbacks"}
    others = MAINTENANCE_BLOCKS | SCORING_BLOCKS | MONITORING_BLOCKS
    found = {path.stem: path.parent.name for path in FILES if path.parent.name != "charts"}
    assert found == BLOCKS | others | reported


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_a_block_is_a_thin_adapter_named_by_its_act(path: Path) -> None:
    kind = path.parent.name.removesuffix("s")
    assert decorated(path, kind) == [path.stem]
    assert len(decorated(path, "test")) == 1
    assert lines_of_code(path) <= MOST_LINES
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_a_block_imports_on_its_own(path: Path) -> None:
    block = load(path)
    assert callable(getattr(block, path.stem))
    assert callable(getattr(block, decorated(path, "test")[0]))


def test_no_block_s_folder_shadows_an_installed_package() -> None:
    assert [folder for folder in FOLDERS if (PROJECT / folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        (PIPELINE, BLOCKS),
        (MAINTENANCE, MAINTENANCE_BLOCKS),
        (SCORING, SCORING_BLOCKS),
        (MONITORING, MONITORING_BLOCKS),
    ],
)
def test_a_pipeline_s_blocks_are_in_the_order_of_its_steps(pipeline: str, expected: dict[str, str]) -> None:
    blocks = read(PROJECT / "pipelines" / pipeline / "metadata.yaml")["blocks"]
    assert {block["uuid"]: f"{block['type']}s" for block in blocks} == expected
    order = list(expected)
    assert [(block["uuid"], block["upstream_blocks"], block["downstream_blocks"]) for block in blocks] == [
        (name, order[max(0, n - 1) : n], order[n + 1 : n + 2]) for n, name in enumerate(order)
    ]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.parent.name)
def test_a_pipeline_s_blocks_exist_and_it_holds_no_state_of_a_run(path: Path) -> None:
    pipeline = read(path)
    assert pipeline["uuid"] == pipeline["name"] == path.parent.name
    for block in pipeline["blocks"]:
        assert (PROJECT / f"{block['type']}s" / f"{block['uuid']}.py").is_file()
        assert block.keys() & {"status", "color", "timeout", "content", "outputs"} == set()
    assert (
        pipeline.keys() & {"variables_dir", "remote_variables_dir", "data_integration", "created_at"} == set()
    )
    assert str(PROJECT) not in path.read_text()


def test_the_project_is_known_and_says_nothing_home() -> None:
    project = read(PROJECT / "metadata.yaml")
    assert project["project_uuid"]
    assert project["help_improve_mage"] is False
    assert not Path(project["variables_dir"]).is_absolute()


@pytest.mark.parametrize(("name", "settings"), [(SCORING, ScoringSettings), (MONITORING, MonitoringSettings)])
def test_a_pipeline_s_variables_are_the_default_settings(name: str, settings: type[CheckedSettings]) -> None:
    pipeline = read(PROJECT / "pipelines" / name / "metadata.yaml")
    assert pipeline["variables"] == settings().model_dump()
    assert list(pipeline["variables"]) == list(settings.model_fields)


def test_monitoring_comes_before_training_and_scoring_after_it() -> None:
    def trigger(pipeline: str, name: str) -> dict[str, Any]:
        triggers = read(PROJECT / "pipelines" / pipeline / "triggers.yaml")["triggers"]
        (found,) = [each for each in triggers if each["name"] == name]
        return dict(found)

    training = trigger(PIPELINE, "green_daily_check")
    scoring, monitoring = (
        trigger(SCORING, "green_daily_scoring"),
        trigger(MONITORING, "green_daily_monitoring"),
    )
    evening = datetime(2026, 7, 1, 22)
    starts = [
        croniter(each["schedule_interval"], evening).get_next(datetime) - evening
        for each in (monitoring, training, scoring)
    ]
    assert [start.total_seconds() / 3600 for start in starts] == [1, 2, 6]
    assert (scoring["status"], monitoring["status"]) == ("inactive", "inactive")
    assert ScoringSettings.parse(scoring["variables"]).month == "next"
    settings = MonitoringSettings.parse(monitoring["variables"])
    assert (settings.month, settings.rollback, settings.retrain) == ("next", True, False)


def test_maintenance_and_mage_keep_files_for_the_default_number_of_days() -> None:
    pipeline, project = PROJECT / "pipelines" / MAINTENANCE / "metadata.yaml", read(PROJECT / "metadata.yaml")
    assert read(pipeline)["variables"] == cleanup.Retention().model_dump()
    days = f"{cleanup.Retention().keep_days}d"
    assert project["variables_retention_period"] == project["logging_config"]["retention_period"] == days


@pytest.mark.parametrize("path", TRIGGERS, ids=lambda path: path.parent.name)
def test_triggers_have_the_fields_that_mage_needs(path: Path) -> None:
    for trigger in read(path)["triggers"]:
        assert {
            "name",
            "schedule_type",
            "schedule_interval",
            "start_time",
            "status",
            "envs",
        } <= trigger.keys()
        assert trigger.keys() & {"token", "last_enabled_at"} == set()
        assert croniter.is_valid(trigger["schedule_interval"])


# --- functions ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def library_as_it_was() -> Iterator[None]:
    """Restore what a block changes for its process, which under Mage is Mage's."""
    logger = logging.getLogger("mlops")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers[:] = before


@pytest.fixture(scope="module")
def blocks_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, dict[str, pd.DataFrame]]:
    """The output of each block, called one after another with the pipeline's variables and Mage's own."""
    folder = tmp_path_factory.mktemp("blocks")
    machine = Machine(folder / "machine", write_months(folder / "source"))
    variables = read(PROJECT / "pipelines" / PIPELINE / "metadata.yaml")["variables"] | machine.settings()
    variables |= {"pipeline_uuid": PIPELINE, "env": "dev", "context": {}, "configuration": {}}

    made: dict[str, pd.DataFrame] = {}
    given: tuple[pd.DataFrame, ...] = ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(machine.state))
        patch.setenv("MLOPS_THREADS", "1")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, kind in BLOCKS.items():
            made[name] = getattr(load(PROJECT / kind / f"{name}.py"), name)(*given, **variables)
            given = (made[name],)
    assert [version.name for version in machine.versions()] == ["trip-duration-sample"]
    assert machine.statuses() == ["FINISHED"]
    return machine, made


@pytest.fixture
def outputs(
    blocks_run: tuple[Machine, dict[str, pd.DataFrame]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, pd.DataFrame]:
    """The output of each block; its full tables are in the state folder of this machine."""
    machine, made = blocks_run
    monkeypatch.setenv("MLOPS_STATE_DIR", str(machine.state))
    return made


@pytest.fixture
def check() -> Callable[[str, pd.DataFrame], None]:
    """Call a block's `@test` as Mage does: with the block's output."""

    def call(name: str, output: pd.DataFrame) -> None:
        path = PROJECT / BLOCKS[name] / f"{name}.py"
        getattr(load(path), decorated(path, "test")[0])(output)

    return call


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_s_test_passes_on_its_output(
    name: str, outputs: Mapping[str, pd.DataFrame], check: Callable[[str, pd.DataFrame], None]
) -> None:
    check(name, outputs[name])


def test_what_the_editor_shows_is_worth_looking_at(outputs: Mapping[str, pd.DataFrame]) -> None:
    months, cleaned, features, board = outputs.values()
    assert list(months) == ["month", "role", "trips", "MB", "changes", "table"]
    assert months["month"].tolist() == ["2023-03", "2023-02", "2023-01"]
    assert months["role"].tolist() == ["test", "validation", "training"]
    assert list(cleaned)[:5] == ["month", "role", "trips", "kept", "kept %"]
    assert (cleaned["kept"] < cleaned["trips"]).all()
    assert cleaned["under 1 minute"].gt(0).all()
    assert list(features) == ["feature", "missing %", "min", "mean", "max", "table"]
    assert features["feature"].is_unique
    assert list(board)[:5] == ["entry", "result", "test RMSE (min)", "vs baseline %", "validation RMSE"]
    assert board.loc[1, ["test RMSE (min)", "vs baseline %", "test MAE (min)"]].tolist()[1:] == ["+0.0", ""]
    assert {"rounds", "max_depth", "learning_rate"} < set(board)
    assert board["entry"].tolist()[:2] == ["version 1", "pair median"]
    assert board["result"].tolist()[:2] == ["champion", "baseline"]
    assert board["entry"].str.startswith("trial ").sum() == 2
    assert all(len(output) <= 20 for output in outputs.values())


def test_a_row_of_an_output_is_low(outputs: Mapping[str, pd.DataFrame]) -> None:
    """Mage makes a row as high as its longest cell needs, with 16 characters in a line."""
    for name, output in outputs.items():
        cells = output.astype(str).stack()
        assert cells.str.len().max() <= 16, name


def test_no_output_shows_a_value_that_mage_masks(outputs: Mapping[str, pd.DataFrame]) -> None:
    """Mage shows asterisks for the value of any environment variable with eight characters or more."""
    hidden = [value for value in os.environ.values() if len(value) >= 8]
    assert os.environ["MLOPS_STATE_DIR"] in hidden
    for name, output in outputs.items():
        cells = output.astype(str).stack()
        assert not [value for value in hidden if cells.str.contains(value, regex=False).any()], name


def test_blocks_pass_on_nothing_that_mage_would_change(
    outputs: Mapping[str, pd.DataFrame], tmp_path: Path
) -> None:
    for name, output in outputs.items():
        output.to_parquet(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), output, obj=name)
        assert isinstance(output.index, pd.RangeIndex), name


def change(column: str, value: object, row: int = 0) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(table: pd.DataFrame) -> pd.DataFrame:
        copy = table.astype({column: object}) if isinstance(value, str) else table.copy()
        copy.loc[row, column] = value
        return copy

    return changed


NO_VALUES = r"build_features: features without values: \['pickup_zone'\]"


@pytest.mark.parametrize(
    ("name", "spoil", "error", "reported"),
    [
        ("load_trips", change("role", "training"), DataQualityError, "one validation and one test month"),
        ("load_trips", change("rows", 0), DataQualityError, r"got empty \['2023-03'\]"),
        (
            "load_trips",
            change("path", "/gone"),
            DataQualityError,
            r"expected a file for each month; missing: \['/gone'\]",
        ),
        ("load_trips", change("month", "2023-02"), DataQualityError, "expected distinct months"),
        ("load_trips", lambda table: table.head(2), DataQualityError, "expected training months"),
        (
            "clean_trips",
            change("kept", 1),
            DataQualityError,
            r"kept \+ rejected = rows; rows lost: {'2023-03'",
        ),
        (
            "build_features",
            change("rows", 0),
            DataQualityError,
            NO_VALUES,
        ),
        (
            "build_features",
            change("missing_share", 1.0),
            DataQualityError,
            NO_VALUES,
        ),
        ("train_and_register", change("kind", "trial"), MlopsError, "expected a version"),
        ("train_and_register", change("test_rmse", float("nan")), MlopsError, "with its test RMSE"),
        ("train_and_register", change("test_rmse", float("inf"), row=1), MlopsError, "with its test RMSE"),
        ("train_and_register", lambda board: board.iloc[2:], MlopsError, "expected a version"),
    ],
)
def test_a_block_s_test_fails_on_a_broken_output(
    name: str,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    error: type[MlopsError],
    reported: str,
    outputs: Mapping[str, pd.DataFrame],
    check: Callable[[str, pd.DataFrame], None],
) -> None:
    with pytest.raises(error, match=reported):
        check(name, spoil(full_table(outputs[name])))


def test_clean_trips_test_looks_into_the_files(
    outputs: Mapping[str, pd.DataFrame], check: Callable[[str, pd.DataFrame], None], tmp_path: Path
) -> None:
    cleaned = full_table(outputs["clean_trips"])
    trips = pd.read_parquet(cleaned.loc[1, "path"])
    trips.loc[7, "duration_minutes"] = 90.0
    trips.to_parquet(tmp_path / "trips.parquet")
    with pytest.raises(TripSchemaError, match="a clean trip violates its schema"):
        check("clean_trips", change("path", str(tmp_path / "trips.parquet"), row=1)(cleaned))
