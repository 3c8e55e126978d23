"""Compared months are kept in one finished run of a model, whole or not at all, and disturb nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.tracked import AWAY, NAME, Killed, fails_at, mlflow_client, runs_of, state_of

from mlops.errors import TrackingError
from mlops.registry import monitoring_log, run_lifecycle, server_facts
from mlops.registry.monitoring_record import Record, to_json

RECORD = Record("2023-11", "7", "6", "2023-10", 60_000, {"rmse": 4.2}, False, ())
EXPERIMENT = monitoring_log.experiment_of(NAME)


@pytest.fixture
def report(store: Path, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text("<p>4.2</p>")
    return path


def keep(report: Path, month: str = "2023-11", text: str = "{}", rmse: float = 4.2) -> str:
    return monitoring_log.write(NAME, month, text, {"rmse": rmse, "missing": float("nan")}, [report])


def points(run_id: str, name: str = "rmse") -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in mlflow_client().get_metric_history(run_id, name)]


def test_months_are_kept_in_one_finished_run(report: Path) -> None:
    run_id = keep(report)
    assert keep(report, "2023-12", "[]", 4.5) == run_id
    assert monitoring_log.months(NAME) == {"2023-11": "{}", "2023-12": "[]"}
    assert points(run_id) == [(202311, 4.2), (202312, 4.5)] and points(run_id, "missing") == []
    assert [state_of(run.info.run_id) for run in runs_of(EXPERIMENT)] == [("FINISHED", None)]
    logged = mlflow_client().download_artifacts(run_id, "2023-11/report.html", str(report.parent))
    assert Path(logged).read_text() == "<p>4.2</p>"


def test_without_a_compared_month_there_is_nothing(store: Path) -> None:
    assert monitoring_log.months(NAME) == {} and monitoring_log.records(NAME) == ()
    assert monitoring_log.link(NAME) == "" and runs_of(EXPERIMENT) == []


def test_a_repeated_write_changes_only_the_content(report: Path) -> None:
    run_id = keep(report)
    keep(report)
    assert points(run_id) == [(202311, 4.2)]
    report.write_text("<p>4.3</p>")
    keep(report, text="[1]", rmse=4.3)
    assert monitoring_log.months(NAME) == {"2023-11": "[1]"}
    assert points(run_id) == [(202311, 4.2), (202311, 4.3)]  # MLflow never forgets a value
    logged = mlflow_client().download_artifacts(run_id, "2023-11/report.html", str(report.parent / "again"))
    assert Path(logged).read_text() == "<p>4.3</p>"


@pytest.mark.parametrize("call", ["set_terminated", "log_artifact", "log_batch", "set_tag"])
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_write_leaves_no_half_month_and_a_rerun_completes_it(
    report: Path, call: str, after: bool
) -> None:
    with pytest.raises(Killed), fails_at(call, Killed(), after=after):
        keep(report)
    is_whole = call == "set_tag" and after
    assert monitoring_log.months(NAME) == ({"2023-11": "{}"} if is_whole else {})
    run_id = keep(report)
    assert monitoring_log.months(NAME) == {"2023-11": "{}"} and points(run_id) == [(202311, 4.2)]
    assert [state_of(run.info.run_id)[0] for run in runs_of(EXPERIMENT)] == ["FINISHED"]


def test_of_two_runs_made_at_once_the_oldest_counts(report: Path) -> None:
    run_id = keep(report)
    experiment = run_lifecycle.make_experiment(EXPERIMENT)
    mlflow_client().create_run(experiment, tags={monitoring_log.MODEL: NAME, "month.2023-12": "{}"})
    assert keep(report, "2024-01") == run_id
    assert list(monitoring_log.months(NAME)) == ["2023-11", "2024-01"]


def test_models_do_not_share_a_run(report: Path) -> None:
    other = "trip-duration-green"
    assert monitoring_log.write(other, "2023-11", "{}", {}) != keep(report, "2023-12")
    assert list(monitoring_log.months(other)) == ["2023-11"] and list(monitoring_log.months(NAME)) == [
        "2023-12"
    ]


def test_a_deleted_experiment_is_an_error_that_says_how_to_restore_it(report: Path) -> None:
    run_id = keep(report)
    experiment = mlflow_client().get_run(run_id).info.experiment_id
    mlflow_client().delete_experiment(experiment)
    expected = f"^experiment {EXPERIMENT} was deleted in MLflow, .*restore -x {experiment}`$"
    for act in (lambda: keep(report), lambda: monitoring_log.months(NAME), lambda: monitoring_log.link(NAME)):
        with pytest.raises(TrackingError, match=expected):
            act()


def test_a_server_that_is_away_is_waited_for(report: Path, patient: None) -> None:
    with fails_at("log_batch", AWAY, once=True):
        run_id = keep(report)
    assert points(run_id) == [(202311, 4.2)] and list(monitoring_log.months(NAME)) == ["2023-11"]


def test_an_unreadable_record_counts_as_missing_with_a_warning(
    report: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(report, text=to_json(RECORD))
    keep(report, "2023-12", "half a rec")
    with caplog.at_level(logging.WARNING):
        assert monitoring_log.records(NAME) == (RECORD,)
    (warning,) = caplog.messages
    assert warning.startswith(
        f"{NAME}: the record of 2023-12 cannot be read: somebody changed it, or a newer"
    )
    assert warning.endswith("-m mlops monitor --help")


def test_link_names_the_command_or_the_page(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_PORT", raising=False)
    run_id = keep(report)
    experiment = mlflow_client().get_run(run_id).info.experiment_id
    page = f"#/experiments/{experiment}/runs/{run_id}"
    assert (
        monitoring_log.link(NAME)
        == f"`make mlflow` shows it at http://127.0.0.1:5000/{page}?{server_facts.MODE}"
    )
    monkeypatch.setattr(server_facts, "tracking_uri", lambda: "https://me:secret@mlflow.example/")
    assert server_facts.shown_at(page.removeprefix("#/")) == (
        f"https://mlflow.example/{page}?{server_facts.MODE}"
    )
