"""What keeps a version from being trained again is said before anything is trained."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.losses import remove_run
from support.tracked import NAME, bare_version, mlflow_client

from mlops.config import Settings
from mlops.data.synthetic.source import write_month
from mlops.data.trips import RULES, Columns, Mask, Rule
from mlops.errors import ConfigError, DataQualityError, TrackingError
from mlops.month import Month
from mlops.operations.reproduce import reproduce
from mlops.pipeline import rule_texts, run_key, steps
from mlops.registry import version_files
from mlops.registry.client import mlflow
from mlops.registry.run_lifecycle import start_run
from mlops.registry.versions import Version
from mlops.training.coverage_aim import Aim


@pytest.mark.parametrize(
    ("usual", "problem"),
    [
        ([True, False], "its run had others, which are not recorded, as in all runs before 2026-12. Run the"),
        ([True, True], "proof/tested.npy"),  # goes on to the next file that it needs
    ],
)
def test_a_version_whose_own_cleaning_rules_were_not_recorded_is_refused(
    usual: list[bool], problem: str, store: Path
) -> None:
    run = mlflow_client().create_run(mlflow_client().create_experiment(NAME, (store / "artifacts").as_uri()))
    months = pd.DataFrame({"month": ["2023-05", "2023-06"], "usual_rules": usual})
    mlflow_client().log_text(run.info.run_id, months.to_csv(index=False), "months.csv")
    number = bare_version(store, run_id=run.info.run_id)

    with pytest.raises(Exception, match=problem) as refused:
        reproduce(NAME, number)

    assert isinstance(refused.value, DataQualityError) == (not all(usual))


@pytest.mark.parametrize(
    ("own", "is_said"),
    [("", False), ('Rule("far", lambda trips, month: trips["distance_miles"] > 3),', True), ("Rule(", False)],
)
def test_rules_of_the_checkout_that_a_version_without_own_rules_does_not_use_are_named(
    own: str,
    is_said: bool,
    store: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = mlflow_client().create_run(mlflow_client().create_experiment(NAME, (store / "artifacts").as_uri()))
    months = pd.DataFrame({"month": ["2023-05", "2023-06"], "usual_rules": True})
    mlflow_client().log_text(run.info.run_id, months.to_csv(index=False), "months.csv")
    for name in ("tested.npy", "sample.parquet"):
        (tmp_path / name).touch()
        mlflow_client().log_artifact(run.info.run_id, str(tmp_path / name), "proof")
    block = (rule_texts.PROJECT / "transformers" / "clean_trips.py").read_text()
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "clean_trips.py").write_text(
        block.replace("...] = (\n", f"...] = (\n{own}\n")
    )
    monkeypatch.setattr(rule_texts, "PROJECT", tmp_path)

    with pytest.raises(ConfigError, match="did not record the source"):  # after the lines about changes
        reproduce(NAME, bare_version(store, run_id=run.info.run_id))

    said = (
        "the version has no cleaning rules of its own; OWN_RULES of transformers/clean_trips.py is not used"
    )
    assert (said in caplog.text) == is_said


def test_a_version_whose_run_is_gone_says_so_with_the_next_act(store: Path) -> None:
    run = mlflow_client().create_run(mlflow_client().create_experiment(NAME, (store / "artifacts").as_uri()))
    number = bare_version(store, run_id=run.info.run_id)
    remove_run(run.info.run_id)

    with pytest.raises(TrackingError) as refused:
        reproduce(NAME, number)

    assert str(refused.value) == (
        f"models:/{NAME}/1: months.csv cannot be read: its run {run.info.run_id} no longer exists in MLflow; "
        "restore a backup, or train the month again with --force and delete this version"
    )


def far(trips: Columns, month: Month) -> Mask:
    return trips["distance_miles"] > 3


def on_the_first(trips: Columns, month: Month) -> Mask:
    return trips["pickup_at"].astype("datetime64[D]") == trips["pickup_at"].astype("datetime64[M]")


OWN = (*RULES[:-1], Rule("on_the_first", on_the_first, training_only=False), Rule("far", far))


@pytest.fixture
def own(tmp_path: Path, migrated_store: Path) -> Version:
    """A version with two rules of its own, of which one takes trips out of the test, and without a usual one."""
    (tmp_path / "state").mkdir()
    shutil.copy(migrated_store, tmp_path / "state" / "mlflow.db")
    months = tmp_path / "months"
    for month in Month.range(Month(2023, 1), Month(2023, 3)):
        write_month(months / f"green_tripdata_{month}.parquet", "green", month, rows=500)
    settings = Settings(source=str(months), month="2023-03", max_trials=1, train_months=1, min_test_rows=1)
    cleaned = steps.clean_trips(steps.load_trips(settings), settings, OWN)
    with start_run(NAME, "green 2023-02", "ab" * 32) as earlier:  # so that the ranges get wider than usual
        earlier.log_parameters({"month": "2023-02"})
        earlier.log_metrics({"test_coverage_80": 0.6, "test_coverage_95": 0.8})
    version = steps.train_and_register(steps.build_features(cleaned, settings), settings).version
    assert version is not None
    return version


def text_of(version: Version, name: str) -> str:
    return Path(mlflow_client().download_artifacts(version.run_id, name)).read_text()


def test_a_version_with_cleaning_rules_of_its_own_has_all_that_others_have(
    own: Version, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "on_the_first (training and test), far (training only), without duplicate"
    metrics = mlflow_client().get_run(own.run_id).data.metrics
    months = pd.read_csv(io.StringIO(text_of(own, "months.csv")))
    test = months.loc[months["role"] == "test"].iloc[0]

    # The rules travel with the version, by name and source.
    assert own.tags["own_rules"] == named
    stored = rule_texts.from_json(text_of(own, "rules.json"))
    assert [text.name for text in stored] == [rule.name for rule in OWN]
    assert stored[-1].source == rule_texts.source_of(far)
    carried = mlflow.models.Model.load(str(version_files.fetch(own, tmp_path))).metadata["cleaning_rules"]
    assert [rule["source"] for rule in carried] == [text.source for text in stored]

    # The verification covers all test trips.
    proof = json.loads(text_of(own, "proof.json"))
    assert proof["passed"], proof["reason"]
    assert proof["measured"]["rows"] == test["test_rows"] == metrics["test_rows"] > 300
    assert (
        test["test_rows"]
        == test["rows"] - test[[f"rejected_{r.name}" for r in OWN if not r.training_only]].sum()
    )

    # The card names and shows them, and has the command that makes the version again.
    card = text_of(own, "model_card.md")
    assert f"predicted {test['test_rows']:,} trips at once" in card
    assert "zone\\_unknown" not in card
    assert "distance_absurd (training only), on_the_first (training and test), far (training only).\n" in card
    assert '    return trips["distance_miles"] > 3' in card
    assert f".venv/bin/python -m mlops reproduce {own.number} --model {own.name}" in card

    _reproduce_with(own, named, caplog, monkeypatch)


def _reproduce_with(
    own: Version, named: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reproduce` uses rules by name, and says what has changed before it trains."""
    with pytest.raises(ConfigError) as absent:
        reproduce(own.name, own.number)
    assert re.fullmatch(
        rf"{own.uri}: its run had cleaning rules that are not defined here: "
        r"on_the_first \(training and test\): `def on_the_first.*`, far \(training only\): "
        r"`def far.*> 3`. Read their source in rules.json of its run, "
        r"and define rules of these names in OWN_RULES of transformers/clean_trips.py",
        str(absent.value),
    )

    steps_taken: list[str] = []
    monkeypatch.setattr("mlops.operations.reproduce.Fitting.of", _noting(steps_taken, caplog))
    same = reproduce(own.name, own.number, rules=OWN[::-1])
    assert same.is_same  # the ranges too, which were calibrated to more than usual because of the run before
    assert Aim.parse(mlflow_client().get_run(own.run_id).data.params) == Aim(0.8288, 0.9606)
    assert (same.rows, same.differs) == (metrics_of(own)["test_rows"], ())
    assert f"\n  with its own cleaning rules: {named}" in str(same)
    with monkeypatch.context() as patch:  # the minutes do not depend on what the ranges are calibrated to
        patch.setattr(Aim, "parse", lambda parameters: Aim())
        narrower = reproduce(own.name, own.number, rules=OWN)
    assert 0.01 < narrower.largest_difference < 10
    assert not narrower.is_same

    now = run_key.inputs()
    changed = {
        "code": now["code"] | {"mlops/new.py": "ab"},
        "environment": now["environment"] | {"numpy": "1.2.3"},
    }
    monkeypatch.setattr(run_key, "inputs", lambda: changed)
    other = replace(OWN[-1], rejects=lambda trips, month: trips["distance_miles"] > 4)
    steps_taken.clear()
    caplog.clear()
    different = reproduce(own.name, own.number, rules=(*OWN[:-1], other))
    assert not different.is_same
    assert len(different.differs) == 3
    rule, code, environment = different.differs
    assert rule.startswith("cleaning rule far: its source was `def far(trips: Columns, month: Month)")
    assert rule.endswith('and is `lambda trips, month: trips["distance_miles"] > 4` now')
    assert re.fullmatch(r"the code has changed since .* \(commit [\w-]+\): new: mlops/new.py", code)
    assert environment.endswith(f": numpy ({now['environment']['numpy']}, now 1.2.3)")
    assert all(text in steps_taken[0] for text in different.differs)


def _noting(taken: list[str], caplog: pytest.LogCaptureFixture) -> Any:
    """`Fitting.of`, which notes what was logged before."""
    from mlops.training.fit import Fitting

    def of(*arguments: Any) -> Fitting:
        taken.append(caplog.text)
        return real(*arguments)

    real = Fitting.of
    return of


def metrics_of(version: Version) -> dict[str, float]:
    return dict(mlflow_client().get_run(version.run_id).data.metrics)
