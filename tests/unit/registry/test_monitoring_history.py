"""The history joins compared months with trainings and alias moves, and changes nothing in the registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.failures import closed_port
from support.monitored import record
from support.tracked import NAME, bare_version, mlflow_client, runs_of

from mlops.errors import TrackingDownError
from mlops.month import Month
from mlops.registry import alias_log, client, monitoring_history, monitoring_log
from mlops.registry.alias_log import BY_OPERATOR, CHAMPION, ROLLBACK
from mlops.registry.monitoring_record import PROMOTED, RETURNED, TRAINED, History, to_json
from mlops.registry.server_facts import MODE

OURS = {"run_key": "ab" * 32, "outcome": "champion", "verdict": "promote"}


def keep(month: str, **changes: str) -> str:
    return monitoring_log.write(NAME, month, to_json(record(month, **changes)), {"rmse": 4.2})


def move(to: str, verdict: str, by: str = "run 1 by me@here") -> None:
    alias_log.move(NAME, CHAMPION, to, by=by, verdict=verdict, reason="because")


def collected() -> History:
    (found,) = monitoring_history.collect([NAME])
    return found


def test_an_empty_registry_has_no_months(store: Path) -> None:
    found = collected()
    assert found.records == () and found.events == () and found.problems == () and found.newest is None
    assert found.report_page("2023-09") == "" and found.model_page.endswith(f"/#/models/{NAME}?{MODE}")


def test_months_trainings_and_moves_are_joined(store: Path) -> None:
    for month in ("2023-07", "2023-08"):
        bare_version(store, **OURS, test_month=month)
    bare_version(store)  # another program registered it
    keep("2023-09")
    keep("2023-08")
    move("1", "promote")
    move("2", "promote")
    move("1", ROLLBACK, alias_log.by_monitoring(Month(2023, 9)))
    found = collected()
    assert [each.month for each in found.records] == ["2023-08", "2023-09"]
    assert found.newest == found.records[1]
    expected = [
        (TRAINED, "2023-07", "1"), (TRAINED, "2023-08", "2"),
        (PROMOTED, "2023-07", "1"), (PROMOTED, "2023-08", "2"), (RETURNED, "2023-09", "1"),
    ]  # fmt: skip
    assert [(each.kind, each.month, each.version) for each in found.events] == expected
    assert found.events[-1].text == "rollback, by monitoring of 2023-09: because"
    (run,) = runs_of(monitoring_log.experiment_of(NAME))
    page = (
        f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/2023-09/report.html?{MODE}"
    )
    assert found.report_page("2023-09").endswith(page)
    assert found.version_page("2/x").endswith(f"/models/{NAME}/versions/2%2Fx?{MODE}")


def test_a_move_by_a_person_belongs_to_the_month_that_was_compared_last(store: Path) -> None:
    for month in ("2023-07", "2023-08"):
        bare_version(store, **OURS, test_month=month)
    keep("2023-09", at="2020-01-01T00:00:00+00:00")
    keep("2023-10", at="2999-01-01T00:00:00+00:00")
    move("2", BY_OPERATOR)
    assert [(each.kind, each.month) for each in collected().events if each.kind != TRAINED] == [
        (PROMOTED, "2023-09")
    ]


def test_without_a_compared_month_it_belongs_to_the_version_s_test_month(store: Path) -> None:
    bare_version(store, **OURS, test_month="2023-07")
    bare_version(store, **OURS, test_month="July")
    move("1", BY_OPERATOR)
    move("2", BY_OPERATOR)
    assert [(each.version, each.month) for each in collected().events] == [
        ("1", "2023-07"), ("2", ""), ("1", "2023-07"), ("2", ""),
    ]  # fmt: skip


def test_what_cannot_be_read_is_a_problem(store: Path) -> None:
    keep("2023-09")
    monitoring_log.write(NAME, "2023-10", "nonsense", {})
    found = collected()
    assert [each.month for each in found.records] == ["2023-09"]
    assert found.problems == (monitoring_log.explain_unreadable(NAME, "2023-10"),)


def test_a_deleted_experiment_is_a_problem_of_its_model_only(store: Path) -> None:
    run_id = keep("2023-09")
    mlflow_client().delete_experiment(mlflow_client().get_run(run_id).info.experiment_id)
    found, other = monitoring_history.collect([NAME, "trip-duration-green"])
    assert found.problems[0].startswith(f"{NAME}: experiment {NAME}-monitoring was deleted in MLflow")
    assert other.problems == ()


def test_a_registry_that_is_away_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with closed_port() as port:
        monkeypatch.setattr(client._Connection, "uri", f"http://127.0.0.1:{port}")
        with pytest.raises(TrackingDownError, match=r"reading its compared months: .*no answer"):
            monitoring_history.collect([NAME])
