"""After a bad month the champion gives way to its predecessor: once, verified, and the same after any crash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.sound_versions import champion, crown, moves
from support.tracked import AWAY, NAME, Killed, fails_at, mlflow_client

from mlops.config import Settings
from mlops.data.trips import Quality
from mlops.errors import TrackingDownError
from mlops.monitoring import reactions
from mlops.monitoring.months import Prepared, Watched
from mlops.monitoring.settings import MonitoringSettings
from mlops.month import Month
from mlops.registry import alias_log, versions
from mlops.registry.monitoring_record import Finding, Record

AUGUST = Month(2023, 8)
USUAL = MonitoringSettings(month="2023-08")
BY = "monitoring of 2023-08"
MOVE = ("3", "2", BY, "rollback", "done")
REASON = (
    "RMSE 5.0000 of version 3 is 25.00% above the 4.0000 of version 2 on 60,000 trips of 2023-08; the 95 % "
    "interval of the difference is 0.8000 to 1.2000 minutes"
)
ROLLED_BACK = ("rollback", f"version 2 is champion again instead of version 3: {REASON}")
BEATEN = {
    "rmse": 5.0, "gain_predecessor": 1.0, "gain_predecessor_low": 0.8, "gain_predecessor_high": 1.2,
}  # fmt: skip
WORSE = {"rmse": 5.0, "rmse_promised": 4.0, "change_within": 1.0, "change_within_low": 0.7}
FAULT = Finding("unit_of_distance", "34 % of the distances look like kilometres", 0.34, True, 8.0)
pytestmark = pytest.mark.usefixtures("sound")


def prepared(month: Month) -> Prepared:
    """A month that nothing reads."""
    nowhere = Path("nowhere")
    return Prepared(month, nowhere, nowhere, "ab" * 32, "a folder", Quality(60_000, 60_000, 60_000))


def watched(predecessor: str | None = "2", month: Month = AUGUST) -> Watched:
    """Version 3 served in the month, and before it that version, if any."""
    before = versions.get(NAME, predecessor) if predecessor else None
    why = "" if predecessor else "version 3 is the first champion"
    return Watched(NAME, "green", prepared(month), (), None, versions.get(NAME, "3"), before, why)


def report(alarm: bool = True, findings: tuple[Finding, ...] = (), **measured: float) -> Record:
    return Record("2023-08", "3", "2", "2023-07", 60_000, measured, alarm, (), findings)


def reacted(found: Record, watching: Watched | None = None, settings: MonitoringSettings = USUAL) -> Record:
    return reactions.react(watching or watched(), found, settings)


def said(found: Record) -> tuple[str, str]:
    return found.action, found.done


def stays() -> bool:
    """Whether no alias was moved."""
    return champion() == "3" and len(moves()) == 3


# --- Rollback -----------------------------------------------------------------------------------------------


def test_a_champion_that_its_predecessor_beats_gives_way_to_it_after_a_verification(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mlops")
    mlflow_client().set_model_version_tag(NAME, "2", "proof", "")
    found = reacted(report(**BEATEN))

    assert f"{NAME} 2023-08: rollback: version 2 is champion again" in caplog.text
    assert said(found) == ROLLED_BACK
    assert (champion(), moves()[3:]) == ("2", [MOVE])
    entry = alias_log.read(NAME)[-1]
    assert (entry.reason, alias_log.made_for(entry)) == (REASON, AUGUST)
    assert versions.get(NAME, "2").tags["proof"] == "passed"
    assert found.measured == BEATEN


def test_a_rerun_says_the_same_and_moves_nothing() -> None:
    first = reacted(report(**BEATEN))
    again = reacted(report(**BEATEN))
    without = reacted(report(**BEATEN), settings=MonitoringSettings(rollback=False))
    corrected = reacted(report(alarm=False))

    assert first == again == without
    assert said(corrected) == ROLLED_BACK
    assert (champion(), moves()[3:]) == ("2", [MOVE])


def test_a_later_champion_does_not_change_what_a_rerun_says() -> None:
    first = reacted(report(**BEATEN))
    crown("1")

    assert reacted(report(**BEATEN)) == first
    assert champion() == "1"


@pytest.mark.parametrize(
    "measured",
    [
        {**BEATEN, "gain_predecessor_low": 0.0},
        {**BEATEN, "gain_predecessor_low": -0.1},
        {**BEATEN, "gain_predecessor": 0.149},
        {**BEATEN, "gain_predecessor": -1.0},
        {**BEATEN, "gain_predecessor": float("nan")},
        {"rmse": 5.0},
        {},
    ],
)
def test_without_a_significant_and_large_enough_gain_the_champion_stays(measured: dict[str, float]) -> None:
    assert said(reacted(report(alarm=False, **measured))) == ("none", "")
    assert stays()


def test_a_gain_of_just_enough_rolls_back() -> None:
    assert reacted(report(**{**BEATEN, "gain_predecessor": 0.15})).action == "rollback"


def test_nothing_is_rolled_back_if_the_setting_is_off_and_the_command_is_named() -> None:
    found = reacted(report(**BEATEN), settings=MonitoringSettings(rollback=False))

    assert found.action == "alert"
    assert found.done.startswith("nothing was rolled back, because the setting rollback is off; ")
    assert found.done.endswith(f"python -m mlops rollback --model {NAME} --to 2 --reason ...")
    assert stays()


def test_nothing_is_rolled_back_without_a_predecessor() -> None:
    assert said(reacted(report(**BEATEN), watched(None))) == ("alert", "version 3 is the first champion")
    assert stays()


def test_nothing_is_rolled_back_if_another_version_is_champion_by_now() -> None:
    crown("1")
    found = reacted(report(**BEATEN))

    assert said(found) == ("alert", "version 3 is no longer champion, so nothing was rolled back")
    assert (champion(), len(moves())) == ("1", 4)


def test_a_champion_moved_by_hand_is_noticed_before_anything_is_rolled_back() -> None:
    mlflow_client().set_registered_model_alias(NAME, "champion", "1")

    assert reacted(report(**BEATEN)).done == "version 3 is no longer champion, so nothing was rolled back"
    assert [move[3] for move in moves()[3:]] == ["by hand"]


@pytest.mark.parametrize("by", ["me@here", "monitoring of 2023-06"])
def test_no_rollback_goes_to_a_version_that_was_itself_rolled_back(by: str) -> None:
    crown("2")
    crown("1", verdict="rollback", by=by)
    crown("3")

    assert said(reacted(report(**BEATEN))) == (
        "alert", "nothing was rolled back, because version 2 was itself rolled back before",
    )  # fmt: skip
    assert champion() == "3"


def test_the_months_are_apart_each_may_roll_back_once() -> None:
    reacted(report(**BEATEN))
    crown("3")  # a person insists on it
    september = watched("1", month=Month(2023, 9))

    assert reacted(report(**BEATEN)).done == ROLLED_BACK[1]
    assert champion() == "3"
    assert reacted(report(**BEATEN), september).action == "rollback"
    assert (champion(), moves()[-1]) == ("1", ("3", "1", "monitoring of 2023-09", "rollback", "done"))


def test_a_predecessor_whose_verification_fails_leaves_the_champion_and_raises_an_alarm() -> None:
    mlflow_client().set_model_version_tag(NAME, "2", "signature", "{}")
    found = reacted(report(alarm=False, **BEATEN))

    assert (found.action, found.alarm) == ("alert", True)
    assert found.done.startswith(
        "version 3 stays champion, the rollback failed: models:/trip-duration-sample/2: "
    )
    assert stays()


def test_a_predecessor_that_predicts_something_else_leaves_the_champion() -> None:
    run_id = versions.get(NAME, "2").run_id
    mlflow_client().set_model_version_tag(NAME, "2", "artefact_sha256", "")
    found = reacted(report(**BEATEN))

    assert run_id
    assert found.done.startswith("version 3 stays champion, the rollback failed: ")
    assert stays()


# --- Wrong data ---------------------------------------------------------------------------------------------


def test_wrong_data_roll_no_champion_back_that_won_on_right_ones() -> None:
    found = reacted(report(findings=(FAULT,), **BEATEN))

    assert found.action == "alert"
    assert found.done.startswith(
        "nothing was rolled back, because the data of 2023-08 are wrong, which may be why version 3 is worse; "
        "compare the month again once it is corrected, or to do it by hand: "
    )
    assert stays()


@pytest.mark.parametrize("verdict", ["refuse", "keep", ""])
def test_wrong_data_do_not_save_a_champion_that_no_verdict_supports(verdict: str) -> None:
    mlflow_client().set_model_version_tag(NAME, "3", "verdict", verdict)

    assert reacted(report(findings=(FAULT,), **BEATEN)).action == "rollback"


@pytest.mark.parametrize(
    "finding",
    [
        Finding("missing_trips", "half of the trips are missing", 0.5, True, 4.0),
        Finding("duplicated_trips", "every trip is there twice", 1.0, True, 9.0),
        Finding("slower_rides", "airport rides are slower", 0.1, False, 3.0),
    ],
)
def test_what_leaves_the_values_of_the_trips_right_prevents_no_rollback(finding: Finding) -> None:
    assert reacted(report(findings=(finding,), **BEATEN)).action == "rollback"


# --- Alert --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alarm", "action"), [(True, "alert"), (False, "none")])
def test_an_alarm_without_a_reaction_is_an_alert(alarm: bool, action: str) -> None:
    assert said(reacted(report(alarm=alarm, **WORSE))) == (action, "")
    assert stays()


# --- Training -----------------------------------------------------------------------------------------------


def retraining(folder: Path, **changed: Any) -> MonitoringSettings:
    """Settings with which a month would be trained on, from a folder without months: so the training fails."""
    return MonitoringSettings.parse({"month": "next", "retrain": True, "source": str(folder), **changed})


def test_a_training_that_fails_is_an_alert_that_says_why(tmp_path: Path) -> None:
    found = reacted(report(alarm=False, **WORSE), settings=retraining(tmp_path))

    assert (found.action, found.alarm) == ("alert", True)
    assert found.done.startswith("training on 2023-08 failed: green 2023-08: ")
    assert str(tmp_path) in found.done
    assert stays()


@pytest.mark.parametrize(
    ("found", "setting"),
    [
        (report(**WORSE), {"retrain": False}),
        (report(**{**WORSE, "change_within_low": 0.0}), {}),
        (report(**{**WORSE, "change_within_low": float("nan")}), {}),
        (report(**{**WORSE, "change_within": 0.39}), {}),
        (report(findings=(FAULT,), **WORSE), {}),
        (report(findings=(replace(FAULT, cause="missing_trips"),), **WORSE), {}),
    ],
)
def test_nothing_is_trained_unless_the_error_at_constant_mix_grew_on_right_data(
    found: Record, setting: dict[str, Any], tmp_path: Path
) -> None:
    assert reacted(found, settings=retraining(tmp_path, **setting)).done == ""


def test_slower_rides_are_learnt_however_much_slower_they_are(tmp_path: Path) -> None:
    with fails_at("get_run", AWAY), pytest.raises(TrackingDownError):  # it began to train
        slower = replace(FAULT, cause="slower_rides")
        reacted(report(findings=(slower,), **WORSE), settings=retraining(tmp_path))


def test_after_a_rollback_nothing_is_trained_in_the_same_month(tmp_path: Path) -> None:
    for _ in range(2):
        found = reacted(report(**{**WORSE, **BEATEN}), settings=retraining(tmp_path))
        assert said(found) == ROLLED_BACK


def test_a_server_that_goes_away_during_the_training_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingDownError), fails_at("get_run", AWAY):
        reacted(report(**WORSE), settings=retraining(tmp_path))


def test_a_month_is_trained_on_as_the_champion_was(tmp_path: Path) -> None:
    run_id = versions.get(NAME, "3").run_id
    recorded = {
        "service": "yellow", "month": "2023-07", "source": "tlc", "train_months": "6", "half_life_months": "None",
        "max_trials": "3", "force": "True", "tracking_patience": "7.0", "unknown": "1",
    }  # fmt: skip
    for name, text in recorded.items():
        mlflow_client().log_param(run_id, name, text)
    used = reactions._training_settings(watched(), retraining(tmp_path))

    expected = {"month": "2023-08", "source": str(tmp_path), "train_months": 6, "max_trials": 3}
    assert used == Settings.parse(expected)


def test_if_the_champions_run_is_gone_the_default_settings_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client, run_id = mlflow_client(), versions.get(NAME, "3").run_id
    client.delete_run(run_id)
    client._tracking_client.store._hard_delete_run(run_id)  # as `mlflow gc` does

    assert reactions._training_settings(watched(), USUAL) == Settings.parse({"month": "2023-08"})
    assert "trained with the default settings" in caplog.text


# --- Crashes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_around_the_move_ends_as_without_it(after: bool) -> None:
    with pytest.raises(Killed), fails_at("set_registered_model_alias", Killed(), after=after):
        reacted(report(**BEATEN))

    assert moves()[-1] == (*MOVE[:-1], "intent")
    assert said(reacted(report(**BEATEN))) == ROLLED_BACK
    assert (champion(), moves()[3:]) == ("2", [MOVE])


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_around_the_intent_ends_as_without_it(after: bool) -> None:
    with pytest.raises(Killed), fails_at("set_registered_model_tag", Killed(), after=after):
        reacted(report(**BEATEN))

    assert said(reacted(report(**BEATEN))) == ROLLED_BACK
    assert (champion(), moves()[3:]) == ("2", [MOVE])


@pytest.mark.parametrize(
    "method", ["set_registered_model_alias", "get_registered_model", "download_artifacts"]
)
def test_a_registry_that_goes_away_is_no_alert_but_an_error(method: str) -> None:
    with pytest.raises(TrackingDownError), fails_at(method, AWAY):
        reacted(report(**BEATEN))

    assert said(reacted(report(**BEATEN))) == ROLLED_BACK
