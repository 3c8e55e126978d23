"""`python -m mlops replay` in a real process on small months: tables, plot, no registry, no repeated fit."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.doors import Ended, Machine
from support.failures import closed_port

from mlops.config import Settings
from mlops.data import schemas
from mlops.evaluation import metrics
from mlops.model.duration_model import DurationModel
from mlops.training.fit import Fitting

POLICIES = [(1, 1), (1, 2), (2, 1), (2, 2)]  # cadence and window
OPTIONS = {
    "from": "2023-03",
    "to": "2023-04",
    "cadences": "1,2",
    "windows": "1,2",
    "max-trials": "1",
    "min-test-rows": "500",
}


def command(machine: Machine, *more: str, **changed: str) -> list[str]:
    options = {**OPTIONS, "source": str(machine.source), **changed}
    given = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "mlops", "replay", *given, *more]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, months: Path) -> tuple[Machine, Ended]:
    """A machine on which a backtest ran while its tracking server did not answer."""
    with closed_port() as port:
        address = f"http://127.0.0.1:{port}"
        machine = Machine(tmp_path_factory.mktemp("replay"), months, {"MLFLOW_TRACKING_URI": address})
        return machine, machine.run(*command(machine))


def output(machine: Machine) -> Path:
    return machine.state / "replay" / "green_2023-03_2023-04"


def models(machine: Machine) -> list[Path]:
    """Folders of fitted models, by test month and number of training months."""
    about = {
        path.parent: json.loads(path.read_text())["settings"]
        for path in output(machine).glob("models/*/fitted.json")
    }
    return sorted(about, key=lambda folder: (about[folder]["month"], about[folder]["train_months"]))


def test_a_replay_prints_its_table_best_first(replayed: tuple[Machine, Ended]) -> None:
    machine, ended = replayed
    assert ended.status == 0, ended.output
    lines = ended.stdout.splitlines()
    assert lines[0] == "green, first test month 2023-03, served from 2023-04 to 2023-04; RMSE in minutes:"
    assert lines[-1] == f"tables by month and a plot are in {output(machine)}"
    rows = [line.split() for line in lines[3:-2]]
    # Both windows begin with 2023-01, so they have the same model and the same error.
    assert len(rows) == 10
    assert len({row[3] for row in rows}) == 1
    assert [float(row[-1]) for row in rows] == sorted(float(row[-1]) for row in rows)
    assert "model 3 of 3" in ended.stderr


def test_the_files_hold_policy_by_month_and_policy(replayed: tuple[Machine, Ended]) -> None:
    machine, _ = replayed
    by_month = pd.read_csv(output(machine) / "replay.csv", keep_default_na=False)
    assert len(by_month) == 20
    later = by_month[by_month["month"] == "2023-04"]
    assert set(later["champion"]) == {"2023-03"}
    trained = later[later["trained"]]
    assert set(zip(trained["gate"], trained["cadence"], strict=True)) == {("always", 1), ("verdict", 1)}
    reasons = trained.loc[trained["gate"] == "verdict", "reason"]
    assert all("of the champion (version of 2023-03)" in reason for reason in reasons)
    by_policy = pd.read_csv(output(machine) / "policies.csv")
    found = {
        gate: sorted(zip(t["cadence"], t["window"], strict=True)) for gate, t in by_policy.groupby("gate")
    }
    assert found == {"always": POLICIES, "once": [(1, 1), (1, 2)], "verdict": POLICIES}
    always = by_policy[by_policy["gate"] == "always"]
    assert list(always["trainings"]) == list(always["promotions"])
    assert (output(machine) / "replay.png").read_bytes().startswith(b"\x89PNG")


def test_the_error_is_that_of_the_model_that_a_run_would_have_fitted(replayed: tuple[Machine, Ended]) -> None:
    machine, _ = replayed
    features = {path.name[6:13]: path for path in machine.state.glob("prepared/**/features/*.parquet")}
    (clean,) = machine.state.glob("prepared/**/trips/green_2023-04_*.parquet")
    fitting = Fitting.of(Settings(max_trials=1), threads=1)
    tuned = fitting.tune([features["2023-01"]], features["2023-02"])
    model = fitting.fit([features["2023-01"], features["2023-02"]], tuned)
    predicted = model.predict(schemas.read_requests(clean))["duration_minutes"].to_numpy()
    expected = metrics.error_metrics(schemas.read_minutes(clean), predicted)["rmse"]
    table = pd.read_csv(output(machine) / "policies.csv")
    assert list(table["mean_rmse"]) == pytest.approx([expected] * 10, abs=1e-9)

    kept = DurationModel.load(models(machine)[0] / "model").predict(schemas.read_requests(clean))
    np.testing.assert_array_equal(kept["duration_minutes"], predicted)


def test_a_replay_uses_no_registry_and_leaves_no_run(replayed: tuple[Machine, Ended]) -> None:
    machine, _ = replayed
    assert {path.name for path in machine.state.iterdir()} == {"locks", "months", "prepared", "replay"}
    assert [path for path in output(machine).rglob("*") if path.name.startswith(".")] == []
    assert machine.processes() == []


def test_other_limits_are_another_verdict_on_the_same_models(replayed: tuple[Machine, Ended]) -> None:
    machine, _ = replayed
    before = {path: path.stat().st_mtime_ns for path in output(machine).rglob("*.ubj")}
    first = (
        pd.read_csv(output(machine) / "policies.csv").set_index(["gate", "cadence", "window"]).sort_index()
    )
    assert first.loc[("verdict", 1, 2), "promotions"] == 2

    strict = machine.run(*command(machine, "--min-improvement=0.9", "--max-coverage-error=0"))
    assert strict.status == 0, strict.output
    assert "final fit" not in strict.stderr
    assert strict.stderr.count("fitted earlier") == 3
    assert {path: path.stat().st_mtime_ns for path in output(machine).rglob("*.ubj")} == before
    then = pd.read_csv(output(machine) / "policies.csv").set_index(["gate", "cadence", "window"]).sort_index()
    assert list(then.loc["verdict", "promotions"]) == [1, 1, 1, 1]
    judged = pd.read_csv(output(machine) / "replay.csv").query("gate == 'verdict' and trained")["reason"]
    assert judged.str.contains(
        r"the 80 % ranges contain \d\d\.\d\d% of the trips, but should contain 80\.00%"
    ).all()
    for gate in ("always", "once"):
        pd.testing.assert_frame_equal(then.loc[gate], first.loc[gate])


def test_a_stopped_replay_continues(machine: Machine) -> None:
    given = command(machine, gates="always", cadences="1", windows="1")
    with machine.start(*given) as process:
        process.wait_for("model 2 of 2")
        process.send(signal.SIGTERM)
        assert process.end().status == 143
    assert len(models(machine)) == 1
    assert not list(output(machine).glob("*.csv"))
    assert [path for path in output(machine).rglob("*") if path.name.startswith(".")] == []
    ended = machine.run(*given)
    assert ended.status == 0, ended.output
    assert "model 1 of 2, training months: 1, test month: 2023-03, fitted earlier" in ended.stderr
    assert ended.stderr.count("final fit") == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("changed", "status", "reported"),
    [
        ({"to": "2023-05"}, 1, "green 2023-05: the test month is not published"),
        ({"gates": "verdct"}, 2, "got 'verdct'; did you mean 'verdict'?"),
    ],
)
def test_what_cannot_be_replayed(
    changed: dict[str, str], status: int, reported: str, machine: Machine
) -> None:
    ended = machine.run(*command(machine, **changed))
    assert ended.status == status, ended.output
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert reported in last
    assert "Traceback" not in ended.output
    assert ended.stdout == ""
    assert not (machine.state / "replay").exists()
