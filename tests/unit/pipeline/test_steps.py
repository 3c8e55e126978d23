"""Steps refuse tables of another run or other settings, and pass on what is known about the months."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.cards import rows, section
from support.tracked import NAME

from mlops.config import Settings
from mlops.data.synthetic.source import write_month
from mlops.data.trips import RULES, Rule
from mlops.errors import ConfigError, DataQualityError
from mlops.evaluation.promotion import Record
from mlops.month import Month
from mlops.pipeline import months_table, rule_texts, steps
from mlops.pipeline.run_result import RunResult
from mlops.registry.client import mlflow_client
from mlops.registry.versions import Version
from mlops.training.coverage_aim import Aim, Covered, next_aim
from mlops.training.search_space import SPACE


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A run over three small months in a folder."""
    folder = tmp_path / "months"
    for month in Month.range(Month(2023, 1), Month(2023, 3)):
        write_month(folder / f"green_tripdata_{month}.parquet", "green", month, rows=400)
    return Settings(source=str(folder), month="2023-03")


@pytest.fixture
def months(settings: Settings) -> pd.DataFrame:
    return steps.load_trips(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("service", "yellow"), ("month", "2023-04"), ("train_months", 3), ("source", "sample")],
)
def test_months_loaded_for_other_settings_are_refused(
    name: str, value: object, months: pd.DataFrame, settings: Settings
) -> None:
    other = Settings.parse({**settings.model_dump(), name: value})
    cleaned = steps.clean_trips(months, settings)
    summary = steps.build_features(cleaned, settings)
    for step, table in (
        (steps.clean_trips, months),
        (steps.build_features, cleaned),
        (steps.train_and_register, summary),
    ):
        with pytest.raises(ConfigError) as refused:
            step(table, other)
        # It is true also where only the last of the blocks before was not run again.
        assert str(refused.value) == (
            f"{'test_month' if name == 'month' else name}: the table of the block before was made from months "
            f"loaded for {getattr(settings, name)}, the settings now say {value}. "
            "Run the blocks before this one again, in order, from load_trips on."
        )


def test_a_file_that_changed_since_it_was_described_is_refused(
    months: pd.DataFrame, settings: Settings
) -> None:
    cleaned = steps.clean_trips(months, settings)
    summary = steps.build_features(cleaned, settings)
    described = pd.read_csv(summary["months"].iloc[0])
    for path, step, table in (
        (described["features"][0], steps.train_and_register, summary),
        (cleaned["path"][1], steps.build_features, cleaned),
        (months["path"][2], steps.clean_trips, months),
    ):
        Path(path).write_bytes(b"another run's")
        with pytest.raises(DataQualityError, match="another run has replaced this file"):
            step(table, settings)


def test_other_rules_have_files_of_their_own_and_leave_the_test_rows_alone(
    months: pd.DataFrame, settings: Settings
) -> None:
    usual = steps.clean_trips(months, settings)
    short = Rule("over_2_miles", lambda trips, month: trips["distance_miles"] > 2)
    strict = steps.clean_trips(months, settings, rules=(*RULES, short))

    assert not set(usual["path"]) & set(strict["path"])
    assert (strict["kept"] < usual["kept"]).all()
    assert (strict["rejected_over_2_miles"] > 0).all()
    assert strict["test_rows"].tolist() == usual["test_rows"].tolist()


def short(limit: float) -> tuple[Rule, ...]:
    """The default rules and an own rule, whose name does not depend on its limit."""
    return (*RULES, Rule("long_way", lambda trips, month: trips["distance_miles"] > limit))


def test_a_changed_own_rule_with_the_same_name_has_other_files_and_another_run_key(
    months: pd.DataFrame, settings: Settings
) -> None:
    tables = [steps.clean_trips(months, settings, rules=short(limit)) for limit in (2.0, 1.0, 2.0)]
    features = [months_table.read(steps.build_features(table, settings)) for table in tables]
    one, other, again = tables

    assert list(one) == list(other)
    assert not set(one["path"]) & set(other["path"])
    assert not set(features[0]["features"]) & set(features[1]["features"])
    assert one["path"].tolist() == again["path"].tolist()
    keys = [steps._key(settings, table) for table in (*tables, features[0])]
    assert keys[0] == keys[2] == keys[3] != keys[1]


def test_own_rules_are_named_in_table_and_log(
    months: pd.DataFrame, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "mlops"):
        usual, own = steps.clean_trips(months, settings), steps.clean_trips(months, settings, short(2.0))

    assert set(usual["rules"]) == {""}
    texts = rule_texts.from_json(own["rules"].iloc[0])
    assert [text.name for text in texts] == [rule.name for rule in short(2.0)]
    assert texts[-1].source == 'limit = 2.0\nlambda trips, month: trips["distance_miles"] > limit'
    assert caplog.text.count("cleaning rules of its own: long_way (training only)") == 1
    described = months_table.read(steps.build_features(own, settings))
    assert described["rules"].tolist() == own["rules"].tolist()


@pytest.mark.parametrize(
    ("rules", "trains", "named"),
    [(RULES, True, "the usual ones"), (short(2.0), False, "long_way (training only)")],
)
def test_a_month_that_another_run_judged_meanwhile_is_followed_by_the_next_one_only_with_usual_rules(
    rules: tuple[Rule, ...],
    trains: bool,
    named: str,
    months: pd.DataFrame,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    judged = RunResult.of_version(
        Version(NAME, "1", "", {"outcome": "champion"}), pd.DataFrame(), "", is_repeat=True
    )
    following = replace(judged, is_repeat=False)
    monkeypatch.setattr(steps, "_connect", lambda settings: None)
    monkeypatch.setattr(steps.versions, "find", lambda *of: None)
    monkeypatch.setattr(steps.run_once, "train_once", lambda *of: judged)
    monkeypatch.setattr(steps, "train", lambda settings: following)
    summary = steps.build_features(steps.clean_trips(months, settings, rules), settings)

    with caplog.at_level("INFO", "mlops"):
        result = steps.train_and_register(
            summary, settings.model_copy(update={"month": "next"}), asked_by="daily/8"
        )

    assert result is (following if trains else judged)
    assert f"cleaning rules of these trips: {named}\n" in caplog.text


def test_the_default_rules_are_hashed_by_their_behaviour(months: pd.DataFrame, settings: Settings) -> None:
    usual = steps.clean_trips(months, settings)
    renamed = [
        replace(rule, rejects=lambda trips, month: trips["distance_miles"] > 50) for rule in RULES[-1:]
    ]
    own = steps.clean_trips(months, settings, rules=(*RULES[:-1], *renamed))

    assert usual["usual_rules"].all()
    assert steps._key(settings, months) == steps._key(
        settings, usual
    )  # as in `train`, which looks it up before cleaning
    assert list(own) == list(usual)
    assert not own["usual_rules"].any()
    assert steps._key(settings, own) != steps._key(settings, usual)


def test_steps_refuse_an_incomplete_table(months: pd.DataFrame, settings: Settings) -> None:
    cleaned = steps.clean_trips(months, settings)
    summary = steps.build_features(cleaned, settings)
    with pytest.raises(DataQualityError, match=r"column 'sha256' .* is missing; .* Run load_trips again"):
        steps.clean_trips(months.drop(columns="sha256"), settings)
    with pytest.raises(DataQualityError, match=r"clean_trips: .*rows lost: .* Run clean_trips again"):
        steps.build_features(cleaned.assign(kept=cleaned["kept"] - 1), settings)
    with pytest.raises(
        DataQualityError, match=r"build_features: features without values: .* Run build_features again"
    ):
        steps.train_and_register(summary.assign(rows=0), settings)


def test_each_step_gives_the_columns_of_the_schema(months: pd.DataFrame, settings: Settings) -> None:
    cleaned = steps.clean_trips(months, settings)
    featured = months_table.read(steps.build_features(cleaned, settings))
    for table, step in ((months, "load_trips"), (cleaned, "clean_trips"), (featured, "build_features")):
        listed = {name for name in months_table.SCHEMAS[step].columns if "rejected" not in name}
        assert {name for name in table if not name.startswith("rejected_")} == listed


def test_the_rules_that_reject_most_come_first(months: pd.DataFrame, settings: Settings) -> None:
    cleaned = steps.clean_trips(months, settings)
    totals = [cleaned[name].sum() for name in cleaned.columns if name.startswith("rejected_")]
    assert totals == sorted(totals, reverse=True)
    assert list(cleaned.columns[:5]) == ["month", "role", "rows", "kept", "test_rows"]


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """A run on the small months with one trial, and the next month for a second run.

    The limit of test rows is low, so that the first version becomes champion.
    """
    write_month(Path(settings.source) / "green_tripdata_2023-04.parquet", "green", Month(2023, 4), rows=400)
    return settings.model_copy(update={"max_trials": 1, "train_months": 1, "min_test_rows": 1})


WITHOUT_DISTANCE = (
    "rmse",
    "mae",
    "coverage_80",
    "coverage_95",
    "interval_score_80",
    "interval_score_95",
    "width_80",
)


def text_of(run: Any, name: str) -> str:
    """A file that a run logged."""
    return Path(mlflow_client().download_artifacts(run.info.run_id, name)).read_text(encoding="utf-8")


def runs() -> list[Any]:
    """Parent runs, oldest first."""
    client = mlflow_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, "params.month LIKE '%-%'", order_by=["attributes.start_time"])
    return list(found)


def test_a_run_learns_from_the_last_one_unless_switched_off(quick: Settings) -> None:
    """It starts with its best points, and its ranges get wider if those of the last one covered too little."""
    steps.train(quick)
    mlflow_client().log_metric(runs()[0].info.run_id, "test_ranges/coverage_80", 0.5)
    april = quick.model_copy(update={"month": "2023-04", "max_trials": 3})
    steps.train(april)
    steps.train(april.model_copy(update={"warm_start": False}))
    first, second, third = runs()

    assert first.data.tags["warm_start"] == "none"
    assert first.info.run_id in second.data.tags["warm_start"]  # which became champion
    assert "warm_start" not in third.data.tags
    table = pd.read_csv(mlflow_client().download_artifacts(second.info.run_id, "warm_start.csv"))
    assert table["month"].tolist() == ["2023-03"]
    assert table["whose"].tolist() == ["champion"]
    for name in (parameter.name for parameter in SPACE):
        assert table[name].tolist() == [pytest.approx(float(first.data.params[name]))]
    measured = Covered("2023-03", 0.5, first.data.metrics["test_coverage_95"])
    aims = [Aim.parse(run.data.params) for run in (first, second, third)]
    assert aims == [Aim(), next_aim([measured]), Aim()]
    assert aims[1].coverage_80 > 0.82

    evidence = Record.from_json(
        text_of(second, "verdict.json")
    ).evidence  # the champion's ranges are compared, too
    assert set(evidence.intervals["contender"]) == {
        "challenger", "champion", "pair_median", "without_distance",
    }  # fmt: skip
    assert evidence.bad_intervals == 0
    for name in ("coverage_80", "width_80", "interval_score_80", "interval_score_95"):
        assert second.data.metrics[f"test_{name}"] == pytest.approx(
            evidence.interval_mean("challenger", name)
        )
    assert "verdict_interval_score_95_gain_low" in second.data.metrics
    of = [row[:2] for row in rows(section(text_of(second, "model_card.md"), "Ranges"))][:4]
    assert of == [
        ["80 %", name]
        for name in ("version 2", "champion (version 1)", "past trips", "version 2, no distance given")
    ]


@pytest.mark.parametrize("compared", [True, False])
def test_compare_course_also_tests_the_courses_recipe(compared: bool, quick: Settings) -> None:
    """The model that uses a distance is also tested without one."""
    steps.train(quick.model_copy(update={"compare_course": compared, "use_distance": compared}))
    (run,) = runs()

    assert ("test_rmse_course" in run.data.metrics) == compared
    logged = {each.path for each in mlflow_client().list_artifacts(run.info.run_id)}
    assert ("slices_without_distance.csv" in logged) == compared
    assert {f"test_without_distance_{name}" in run.data.metrics for name in WITHOUT_DISTANCE} == {compared}
    if compared:
        assert 1 < run.data.metrics["test_rmse_course"] < 30
        assert run.data.metrics["test_without_distance_rmse"] > run.data.metrics["test_rmse"]
    assert {"test_coverage_80", "test_coverage_95"} <= set(run.data.metrics)
    assert 0.6 < run.data.metrics["test_coverage_80"] < run.data.metrics["test_coverage_95"] <= 1
