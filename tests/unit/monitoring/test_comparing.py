"""A month compared with what the champion had promised: numbers of both versions, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tracked import AWAY, NAME, fails_at, mlflow_client
from support.watched_months import PUBLISHED, publish, settings_of

from mlops import config
from mlops.data import schemas
from mlops.errors import TrackingDownError, UntrustedError
from mlops.monitoring import comparing, measures, months
from mlops.monitoring.comparing import Compared, compare, measured
from mlops.monitoring.months import Watched
from mlops.month import Month
from mlops.registry import loading, signature


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("city"), *PUBLISHED[-4:])


def find(source: Path) -> Watched:
    found = months.find(settings_of(source, tracking_patience=0.0))
    assert isinstance(found, Watched)
    return found


def compared(source: Path) -> Compared:
    return compare(find(source), threads=1)


def unsign(number: str) -> None:
    mlflow_client().set_model_version_tag(NAME, number, signature.TAG, "{}")


def rmse(watched: Watched, month: str) -> float:
    """The champion's RMSE, computed from its model and the trips."""
    clean = {str(each.month): each.clean for each in (watched.now, *watched.before)}[month]
    model = loading.load(watched.champion, config.state().versions).model
    error = model.predict(schemas.read_requests(clean))["duration_minutes"] - schemas.read_minutes(clean)
    return float(np.sqrt(np.mean(error**2)))


def test_the_numbers_of_a_month(sound: Path, city: Path) -> None:
    found = compared(city)
    values = measured(found)
    assert values["rmse"] == pytest.approx(rmse(found.watched, "2023-08"))
    assert values["rmse_promised"] == pytest.approx(rmse(found.watched, "2023-07"))
    assert values["change"] == pytest.approx(values["rmse"] - values["rmse_promised"])
    assert values["change_mix"] + values["change_within"] == pytest.approx(values["change"], abs=1e-9)
    assert values["change_within_low"] < values["change_within"] < values["change_within_high"]
    assert values["rmse_low"] < values["rmse"] < values["rmse_high"]
    assert values["rmse_predecessor"] == pytest.approx(
        values["rmse"]
    )  # both versions have the same small model
    assert values["gain_predecessor"] == pytest.approx(0)
    assert (values["gain_predecessor_low"], values["gain_predecessor_high"]) == (0, 0)
    assert values["rmse_baseline"] > 0
    assert 0 < values["coverage_80"] < values["coverage_95"] <= 1
    assert found.trips == found.watched.now.quality.test_rows
    assert (found.notes, set(found.changes)) == ((), set(comparing.EXPLAINED))


def test_the_gain_is_what_the_predecessor_would_have_saved(sound: Path, city: Path) -> None:
    found = compared(city)
    assert found.evidence is not None
    days = found.evidence.days.assign(challenger=found.evidence.days["challenger"] / 4)
    better = replace(found, evidence=replace(found.evidence, days=days))
    values = measured(better)
    assert values["gain_predecessor"] == pytest.approx(values["rmse"] / 2)
    assert 0 < values["gain_predecessor_low"] < values["gain_predecessor"] < values["gain_predecessor_high"]


def test_a_rerun_asks_no_version_again(sound: Path, city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(compared(city))
    monkeypatch.setattr(loading, "load", None)
    assert measured(compared(city)) == first


def test_a_predecessor_that_cannot_answer_is_left_out(sound: Path, city: Path) -> None:
    unsign("2")
    found = compared(city)
    assert found.evidence is None
    (note,) = found.notes
    assert note.startswith(f"version 2, the predecessor, cannot answer: models:/{NAME}/2: ")
    assert not {name for name in measured(found) if "predecessor" in name}


def test_no_predecessor(sound: Path, city: Path) -> None:
    for number in ("1", "2"):
        mlflow_client().delete_model_version(NAME, number)
    found = compared(city)
    assert (found.evidence, found.notes) == (
        None, ("version 2, the champion before version 3, was deleted",),
    )  # fmt: skip


def test_the_first_month_has_no_change_and_no_baseline(sound: Path, tmp_path: Path) -> None:
    found = compared(publish(tmp_path / "one", Month(2023, 8)))
    values = measured(found)
    assert not {name for name in values if name.startswith(("change", "rmse_promised", "rmse_baseline"))}
    assert values["rmse"] > 0
    assert (found.promised, found.changes, len(found.notes)) == (None, {}, 2)


def test_a_champion_that_cannot_answer_is_an_error(sound: Path, city: Path) -> None:
    watched = find(city)
    unsign("3")
    with pytest.raises(UntrustedError, match="nothing of it is loaded"):
        compare(months.from_table(months.as_table(watched)), threads=1)


@pytest.mark.parametrize("number", ["2", "3"])
def test_an_outage_says_nothing_about_a_version(number: str, sound: Path, city: Path) -> None:
    watched = find(city)
    if number == "2":
        comparing.answers.answer(watched.champion, watched.now, 1)
    with fails_at("get_model_version_download_uri", AWAY), pytest.raises(TrackingDownError):
        compare(watched, threads=1)


def test_a_month_of_few_days_proves_nothing(sound: Path, city: Path) -> None:
    found = compared(city)
    days = sorted(found.now["day"].unique())

    def of_first_days(count: int) -> dict[str, float]:
        now = found.now[found.now["day"].isin(days[:count])]
        return measured(replace(found, now=now, changes=comparing.changes_of(found.promised, now)))

    bounds = {"rmse_low", "rmse_high", "change_within_low", "gain_predecessor_low", "bias_within_low"}
    assert bounds <= of_first_days(measures.FEWEST_DAYS).keys()
    short = of_first_days(measures.FEWEST_DAYS - 1)
    assert not bounds & short.keys()
    assert short["rmse"] > 0


def test_a_month_of_few_days_says_so(sound: Path, city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "FEWEST_DAYS", 32)
    assert compared(city).notes[0] == (
        "2023-08 has trips on 31 days only: with fewer than 32, nobody can say whether a model is worse"
    )
