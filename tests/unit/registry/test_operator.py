"""What a person asks of a registry, as far as it takes no whole run: who answered when, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support import listed
from support.losses import delete_run, remove_run
from support.tracked import NAME, bare_version, mlflow_client

from mlops import config, locks
from mlops.errors import ConfigError, PromotionError, TrackingError
from mlops.operations.reproduce import reproduce
from mlops.registry import alias_log, operator
from mlops.registry.alias_log import CHAMPION, Entry
from stack.secret_values import give_to_shells

MONTHS = pd.DataFrame(
    {
        "month": ["2023-06", "2023-05"],
        "role": ["test", "validation"],
        "rows": ["61000", "60000"],
        "sha256": ["ab" * 32, "cd" * 32],
        "url": ["https://example.org/2023-06.parquet", "https://example.org/2023-05.parquet"],
    }
)
LEARNT = {
    "first_month_learnt": "2023-01", "last_month_learnt": "2023-05", "test_month": "2023-06",
    "test_rmse": "4.412390", "verdict": "promote", "reason": "RMSE is 2 % below",
}  # fmt: skip


def refusal(act: Callable[[], object], kind: type[Exception] = PromotionError) -> str:
    with pytest.raises(kind) as refused:
        act()
    return str(refused.value)


def reigned(number: int, at: str, to: str | None, verdict: str = "promote") -> None:
    """Write that the champion moved at a time, and move it."""
    alias_log._write(NAME, Entry(number, at, "me@here", CHAMPION, None, to, verdict, "why"))
    if to is None:
        mlflow_client().delete_registered_model_alias(NAME, CHAMPION)
    else:
        mlflow_client().set_registered_model_alias(NAME, CHAMPION, to)


@pytest.fixture
def reigns(store: Path) -> None:
    """Version 1 reigned in January until its rollback's noon, 2 for three hours, then 1 again."""
    experiment = mlflow_client().create_experiment(NAME, (store / "artifacts").as_uri())
    for _ in range(2):
        run = mlflow_client().create_run(experiment)
        mlflow_client().log_text(run.info.run_id, MONTHS.to_csv(index=False), "months.csv")
        bare_version(store, run_id=run.info.run_id, **LEARNT)
    reigned(1, "2026-01-10T08:00:00.000+00:00", "1")
    reigned(2, "2026-02-03T09:00:00.000+00:00", "2")
    reigned(3, "2026-02-03T12:00:00.000+00:00", "1", "rollback")


# --- Who answered when --------------------------------------------------------------------------------------


def answered(when: str) -> list[str]:
    """Versions that answered then, in their order."""
    reported = listed.as_of(NAME, when)
    return [part.split()[2] for part in reported.split("\n\n") if part.startswith(f"{NAME}: version ")]


@pytest.mark.usefixtures("reigns")
def test_on_a_day_all_its_champions_answered_and_at_a_time_one() -> None:
    expected = {
        "2026-01-09": [],
        "2026-01-10": ["1"],
        "2026-02-02": ["1"],
        "2026-02-03": ["1", "2", "1"],
        "2026-02-04": ["1"],
        "2026-02-03T08:59:59": ["1"],
        "2026-02-03T09:00:00": ["2"],
        "2026-02-03T11:59:59.999999": ["2"],
        "2026-02-03T12:00:00+00:00": ["1"],
        "2026-02-03T12:00:00+02:00": ["2"],
    }

    assert {when: answered(when) for when in expected} == expected


@pytest.mark.usefixtures("reigns")
def test_a_champion_is_described_with_its_time_and_training_data() -> None:
    first, second, last = listed.as_of(NAME, "2026-02-03").split("\n\n")

    assert first.startswith(
        f"{NAME}: version 1 (since 2026-01-10 08:00 UTC; until 2026-02-03 09:00 UTC), promote\n"
        "trained on 2023-01 to 2023-05, tested on 2023-06: RMSE 4.4124\n"
    )
    assert f"{NAME}: version 1 (since 2026-02-03 12:00 UTC; until now), rollback\n" in last
    for word in ("2023-05", "validation", "60000", "cd" * 6, "https://example.org/2023-05.parquet"):
        assert word in second


@pytest.mark.usefixtures("reigns")
def test_before_the_first_champion_its_start_is_shown() -> None:
    assert listed.as_of(NAME, "2026-01-09") == (
        f"{NAME}: no version was champion on 2026-01-09 (UTC); "
        "the first champion dates from 2026-01-10 08:00 UTC"
    )


@pytest.mark.usefixtures("reigns")
def test_a_time_without_a_champion_is_reported() -> None:
    reigned(4, "2026-03-01T08:00:00.000+00:00", None, "by hand")

    assert listed.as_of(NAME, "2026-03-02").startswith(f"{NAME}: no version was champion on 2026-03-02 (UTC)")
    assert f"{NAME}: no champion since 2026-03-01 08:00 UTC" in listed.as_of(NAME, "2026-03-01")


@pytest.mark.usefixtures("reigns")
def test_a_version_that_was_deleted_since_is_named_all_the_same() -> None:
    mlflow_client().delete_model_version(NAME, "2")

    assert listed.as_of(NAME, "2026-02-03T10:00:00").endswith(
        "version 2 (since 2026-02-03 09:00 UTC; until 2026-02-03 12:00 UTC), promote\n"
        "this version has been deleted since"
    )


@pytest.mark.usefixtures("reigns")
def test_a_champion_by_hand_is_one_since_it_was_noticed() -> None:
    mlflow_client().set_registered_model_alias(NAME, CHAMPION, "2")
    listed.listing(NAME)
    noticed = alias_log.read(NAME)[-1].at

    at = f"{noticed[:16].replace('T', ' ')} UTC"
    assert f"{NAME}: version 2 (noticed at {at}; until now), by hand" in listed.as_of(NAME, noticed)


def test_a_missing_model_has_no_history(store: Path) -> None:
    assert listed.as_of(NAME, "2026-01-09") == f"{NAME}: no version was champion on 2026-01-09 (UTC)"
    assert listed.listing(NAME) == f"{NAME}: no version is registered yet"


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "2026-02-30", "2026-10", "", "10/03/2026"])
def test_what_is_no_date_is_refused(when: str) -> None:
    assert refusal(lambda: listed.as_of(NAME, when), ConfigError) == (
        f"as-of: expected a date such as 2026-10-03, or a time such as 2026-10-03T08:30; got {when!r}"
    )


# --- Promoting and rolling back -----------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", " \n"])
def test_nobody_moves_a_champion_without_a_reason(reason: str) -> None:
    reported = "reason: expected a text that says why, for the journal; got nothing"

    assert refusal(lambda: operator.promote(NAME, "1", reason), ConfigError) == reported
    assert refusal(lambda: operator.rollback(NAME, reason), ConfigError) == reported


@pytest.mark.parametrize("number", ["abc", "v1", "-1", "1.0", ""])
def test_a_version_is_named_by_its_number(number: str) -> None:
    reported = f"version: expected the number of a version, got {number!r}; `registry` lists the versions"

    assert refusal(lambda: operator.promote(NAME, number, "why"), ConfigError) == reported
    assert refusal(lambda: operator.rollback(NAME, "why", number), ConfigError) == reported
    assert refusal(lambda: reproduce(NAME, number), ConfigError) == reported


@pytest.mark.usefixtures("reigns")
def test_what_cannot_become_champion_is_refused_with_the_next_act() -> None:
    version = f"models:/{NAME}/2"
    refused = [
        refusal(lambda number=number: operator.promote(NAME, number, "why")) for number in ("1", "2", "9")
    ]

    assert refused == [
        f"models:/{NAME}/1 is already champion; nothing was changed",
        f"{version} cannot become champion: its run did not finish, or another program registered it. "
        "Train it again.",
        f"{NAME}: there is no version 9; existing versions: 1, 2",
    ]
    assert alias_log.current(NAME, CHAMPION) == "1"
    assert len(alias_log.read(NAME)) == 3


@pytest.mark.usefixtures("reigns")
def test_one_that_was_rolled_back_is_not_gone_back_to_unless_asked_for(store: Path) -> None:
    none = (
        f"{NAME}: there is no earlier champion to roll back to. `registry` lists the versions; "
        "`promote` makes another one champion."
    )
    bare_version(store)

    assert refusal(lambda: operator.rollback(NAME, "why")) == none
    assert refusal(lambda: operator.rollback(NAME, "why", to="3")) == (
        f"{NAME}: version 3 was never champion, so it cannot be rolled back to; use `promote`."
    )
    assert refusal(lambda: operator.rollback(NAME, "why", to="2")).startswith(
        f"models:/{NAME}/2 cannot become champion: "
    )
    assert refusal(lambda: operator.rollback("trip-duration-green", "why")).startswith(
        "trip-duration-green: there is no earlier champion to roll back to."
    )


# --- The listing --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reigns")
def test_the_listing_has_the_newest_version_first_and_the_moves_as_they_came() -> None:
    lines = listed.listing(NAME).splitlines()
    rows = [line.split() for line in lines if line.split()[:1] in (["1"], ["2"])]
    moves = [line.strip() for line in lines if line.startswith("  2026-")]

    assert lines[0] == NAME
    assert [row[0] for row in rows] == ["2", "1"]
    assert CHAMPION in rows[1]
    assert CHAMPION not in rows[0]
    assert all("4.4124" in row and "unfinished" in row for row in rows)
    assert [move[:20] for move in moves] == [
        f"2026-{at}:00 UTC" for at in ("01-10 08", "02-03 09", "02-03 12")
    ]
    assert "champion none -> 1" in moves[0]
    assert "NOTE" not in listed.listing(NAME)


@pytest.mark.usefixtures("reigns")
def test_a_move_by_hand_is_noticed_by_whoever_lists_even_while_somebody_is_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locks, "GRACE_SECONDS", 0.0)
    mlflow_client().set_registered_model_alias(NAME, CHAMPION, "2")
    note = "NOTE: champion was moved by hand from version 1 to 2"
    with locks.hold(f"{NAME}.aliases", about="judging"):
        assert listed.listing(NAME).endswith(note)
        assert len(alias_log.read(NAME)) == 3
    text = listed.listing(NAME)

    assert text.endswith(note)
    assert "champion 1 -> 2" in text
    assert "NOTE" not in listed.listing(NAME)


# --- Which model --------------------------------------------------------------------------------------------


def test_the_one_model_there_is_need_not_be_named(store: Path) -> None:
    reported = "model: expected exactly one registered model; got "
    assert refusal(operator.only_model, ConfigError) == f"{reported}0: train one first"
    bare_version(store, "somebody-elses")
    bare_version(store, "trip-duration-green")
    assert operator.only_model() == "trip-duration-green"
    bare_version(store, "trip-duration-yellow")

    assert refusal(operator.only_model, ConfigError) == (
        f"{reported}2: choose one with --model: trip-duration-green, trip-duration-yellow"
    )


def test_a_shell_that_does_not_use_the_stack_learns_how_to(store: Path) -> None:
    stack = store / "stack"
    stack.mkdir()
    give_to_shells(stack, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"})
    act = (
        f"train one first, or use the registry of the stack in {stack}: set -a; . {stack}/environment; set +a"
    )
    for asked in (operator.only_model, lambda: operator.registered_model("trip-duration-green")):
        assert refusal(asked, ConfigError).endswith(act)
    give_to_shells(stack, {"MLFLOW_TRACKING_URI": config.tracking_uri()})
    assert refusal(operator.only_model, ConfigError).endswith("; got 0: train one first")


def test_a_model_that_is_named_must_be_there(store: Path) -> None:
    bare_version(store, "trip-duration-green")
    assert operator.registered_model("trip-duration-green") == "trip-duration-green"

    assert refusal(lambda: operator.registered_model("trip-duration-gren"), ConfigError) == (
        "model: expected the name of a registered model; got 'trip-duration-gren'. "
        "Registered models: trip-duration-green"
    )


def test_a_day_that_has_not_come_is_refused(store: Path) -> None:
    assert refusal(lambda: listed.as_of(NAME, "2999-01-01"), ConfigError) == (
        "as-of: expected a day or a time in the past, UTC; got 2999-01-01"
    )


# --- What people deleted --------------------------------------------------------------------------------------


def loss_of(number: str, loss: Callable[[str], object]) -> str:
    """Do this to the run of a version; returns the run's id."""
    run_id = str(mlflow_client().get_model_version(NAME, number).run_id)
    loss(run_id)
    return run_id


@pytest.mark.usefixtures("reigns")
def test_who_answered_is_known_although_the_run_is_gone() -> None:
    run_id = loss_of("2", remove_run)

    assert answered("2026-02-03") == ["1", "2", "1"]
    assert listed.as_of(NAME, "2026-02-03T10:00:00").endswith(
        "trained on 2023-01 to 2023-05, tested on 2023-06: RMSE 4.4124\n"
        f"its files are unknown: models:/{NAME}/2: months.csv cannot be read: its run {run_id} no longer exists "
        "in MLflow; restore a backup, or train the month again with --force and delete this version"
    )


@pytest.mark.usefixtures("reigns")
def test_the_files_of_a_deleted_run_are_known_until_it_is_gone_for_good() -> None:
    loss_of("2", delete_run)
    assert "https://example.org/2023-05.parquet" in listed.as_of(NAME, "2026-02-03T10:00:00")


@pytest.mark.usefixtures("reigns")
def test_months_without_some_columns_are_shown_as_far_as_they_go(store: Path) -> None:
    run_id = str(mlflow_client().get_model_version(NAME, "2").run_id)
    mlflow_client().log_text(run_id, "month,sha256\n2023-05,abcd\n", "months.csv")
    header, row, _ = listed.as_of(NAME, "2026-02-03T10:00:00").splitlines()[-3:]
    assert header.split() == ["month", "role", "rows", "sha256", "url"]
    assert row.split() == ["2023-05", "abcd"]
    assert row.index("abcd") == header.index("sha256")


@pytest.mark.usefixtures("reigns")
def test_a_champion_whose_run_is_gone_is_described_by_its_tags() -> None:
    run_id = loss_of("1", remove_run)
    text = listed.champion(NAME)

    assert text.startswith(
        f"{NAME}: champion is models:/{NAME}/1, trained on 2023-01 to 2023-05, tested on 2023-06\n"
    )
    assert re.search(r"^ +rmse +4\.4124$", text, re.M)
    assert f"its other metrics are unknown: its run {run_id} no longer exists in MLflow; " in text


@pytest.mark.usefixtures("reigns")
def test_a_version_that_was_made_by_hand_is_listed_and_shown(store: Path) -> None:
    number = bare_version(store, test_rmse="good", test_month="soon")
    mlflow_client().set_registered_model_alias(NAME, CHAMPION, number)

    versions = listed.listing(NAME)
    assert re.search(rf"^ +{number}  champion +soon +\? to \? +unfinished, overridden$", versions, re.M)
    text = listed.champion(NAME)
    assert f"champion is models:/{NAME}/{number}, trained on ? to ?, tested on soon\n" in text
    assert "it has no run, because another program or a person registered it\n" in text
    assert "\nNOTE: made champion without a verdict, by unknown on " in text
    assert f"champion 1 -> {number}  by hand, without a verdict (unknown): moved" in versions
    assert "trained on ? to ?, tested on soon: RMSE ?\nits files are unknown: " in listed.as_of(
        NAME, alias_log.read(NAME)[-1].at
    )


@pytest.mark.usefixtures("reigns")
def test_a_version_without_its_sample_is_not_promoted() -> None:
    for key, value in {"artefact_sha256": "ab", "outcome": "challenger"}.items():
        mlflow_client().set_model_version_tag(NAME, "2", key, value)
    run_id = loss_of("2", remove_run)

    assert refusal(lambda: operator.promote(NAME, "2", "why")) == (
        f"models:/{NAME}/2 cannot become champion: the sample for its verification is missing. "
        f"models:/{NAME}/2: proof/sample.parquet cannot be read: its run {run_id} no longer exists in MLflow; "
        "restore a backup, or train the month again with --force and delete this version. "
        "Or choose another version."
    )


@pytest.mark.usefixtures("reigns")
def test_a_rollback_to_a_deleted_champion_names_those_that_are_there(store: Path) -> None:
    bare_version(store)
    reigned(4, "2026-03-01T08:00:00.000+00:00", "2")
    reigned(5, "2026-04-01T08:00:00.000+00:00", "3")
    mlflow_client().delete_model_version(NAME, "2")

    assert refusal(lambda: operator.rollback(NAME, "why")) == (
        f"{NAME}: the previous champion, version 2, was deleted. Earlier champions that are there: 1; "
        "choose one with --to, or another version with `promote`."
    )


def test_a_model_without_versions_has_no_history(store: Path) -> None:
    mlflow_client().create_registered_model(NAME)
    assert listed.listing(NAME) == f"{NAME}: no version is registered yet"
    with pytest.raises(TrackingError, match="there is no champion"):
        listed.champion(NAME)
