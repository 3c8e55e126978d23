"""The steps of the Mage pipeline: what each shows, and that a delivery is repeated without scoring again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.builders import make_requests
from support.failures import closed_port
from support.results import MONTH, deliver
from support.tracked import NAME

from mlops import config
from mlops.errors import ConfigError, DataQualityError, ExportError
from mlops.scoring import score, steps
from mlops.scoring.exports import FolderExport
from mlops.scoring.settings import ScoringSettings

OUTCOMES = ["delivered", "was there"]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    folder.mkdir()
    requests = make_requests(40)
    requests.to_parquet(folder / "a.parquet", index=False)
    requests.assign(pickup_zone="home").head(3).to_csv(folder / "b.csv", index=False)
    return folder


def run(settings: ScoringSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    requests = steps.load_requests(settings)
    steps.check_requests(requests)
    summary = steps.predict_durations(requests, settings)
    steps.check_rows(summary)
    return requests, summary


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_step_shows_a_row_for_each_file(registry: Path, inputs: Path, tmp_path: Path) -> None:
    settings = ScoringSettings.parse({"input": str(inputs), "to": str(tmp_path / "to")})
    requests, summary = run(settings)
    assert requests["rows"].tolist() == [40, pd.NA]
    assert (requests["megabytes"] >= 0).all()
    assert requests["version"].tolist() == ["1", "1"]
    assert summary[["rows", "answered", "rejected"]].to_numpy().tolist() == [[40, 40, 0], [3, 0, 3]]
    delivered = steps.export_predictions(summary, settings, {})
    steps.check_rows(delivered)
    names = [f"{stem}.{NAME}-v1" for stem in ("a", "b")]
    assert delivered["result"].tolist() == names
    assert delivered["place"].tolist() == [str(tmp_path / "to" / f"{name}.parquet") for name in names]
    assert delivered["outcome"].tolist() == OUTCOMES[:1] * 2
    assert files(tmp_path / "to") == [
        f"{names[0]}.parquet",
        f"{names[1]}.parquet",
        f"{names[1]}.rejected.parquet",
    ]
    again = steps.export_predictions(run(settings)[1], settings, {})
    assert again["outcome"].tolist() == OUTCOMES[1:] * 2
    for table in (requests, summary, delivered):  # Mage keeps them as Parquet
        table.to_parquet(tmp_path / "kept.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "kept.parquet"), table)


def test_a_result_of_another_registry_s_version_is_replaced_where_it_was_delivered(tmp_path: Path) -> None:
    there = FolderExport(tmp_path / "to")
    deliver(FolderExport(config.state().scored))
    deliver(there, run_key="bb08")
    settings = ScoringSettings.parse({"to": str(there.folder)})
    summary = pd.DataFrame([{"result": MONTH, "rows": 3, "answered": 3, "rejected": 0}])
    delivered = [steps.export_predictions(summary, settings, {})["outcome"][0] for _ in OUTCOMES]
    assert delivered == OUTCOMES


def test_without_a_place_the_results_stay_in_the_state_folder(registry: Path, inputs: Path) -> None:
    settings = ScoringSettings.parse({"input": str(inputs / "a.parquet")})
    summary = run(settings)[1]
    delivered = steps.export_predictions(summary, settings, {})
    assert delivered["outcome"].tolist() == OUTCOMES[1:]
    assert delivered["place"].tolist() == summary["output"].tolist()
    assert files(registry / "scored") == [f"a.{NAME}-v1.parquet"]


def test_a_delivery_that_failed_is_repeated_without_scoring(
    registry: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as port:
        settings = ScoringSettings.parse(
            {"input": str(inputs / "a.parquet"), "to": f"postgresql://127.0.0.1:{port}/db"}
        )
        summary = run(settings)[1]
        with pytest.raises(ExportError, match="PostgreSQL did not answer"):
            steps.export_predictions(summary, settings, {})
    again = settings.model_copy(update={"to": str(tmp_path / "to")})
    monkeypatch.delattr(score, "write_result")
    delivered = steps.export_predictions(run(again)[1], again, {})
    assert delivered["outcome"].tolist() == OUTCOMES[:1]


def test_settings_from_mage_are_without_mage_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["mage"])
    given: dict[str, Any] = {
        "month": "next",
        "version": 3,
        "env": "prod",
        "pipeline_uuid": "trip_duration_scoring",
    }
    settings = steps.from_mage(given)
    assert (settings.month, settings.version) == ("next", "3")
    with pytest.raises(ConfigError, match="unknown setting 'mont'; did you mean 'month'"):
        steps.from_mage({"mont": "next"})


@pytest.mark.parametrize(
    ("column", "value", "reported"),
    [("answered", 39, r"lost in \['a"), ("rows", 41, r"lost in \['a")],
)
def test_lost_rows_are_noticed(column: str, value: int, reported: str) -> None:
    whole = pd.DataFrame({"result": ["a"], "rows": [40], "answered": [40], "rejected": [0]})
    steps.check_rows(whole)
    with pytest.raises(DataQualityError, match=reported):
        steps.check_rows(whole.assign(**{column: value}))
    with pytest.raises(DataQualityError, match="got 0 results"):
        steps.check_rows(whole.head(0))


def test_files_that_are_gone_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(DataQualityError, match=rf"got 1, missing: \['{tmp_path}/gone'\]"):
        steps.check_requests(pd.DataFrame({"path": [str(tmp_path / "gone")]}))
    with pytest.raises(DataQualityError, match="expected files to score; got 0"):
        steps.check_requests(pd.DataFrame({"path": []}))
