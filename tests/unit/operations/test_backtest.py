"""Backtests of policies on months computed by hand: which model serves when, its error, and the training time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.config import Settings
from mlops.data.synthetic.source import write_month
from mlops.errors import ConfigError, MonthNotPublishedError
from mlops.evaluation.promotion import Verdict
from mlops.month import Month
from mlops.operations import policies
from mlops.operations.backtest import Replayed, replay
from mlops.operations.policies import Policy, Served, simulate

APRIL, MAY, JUNE, JULY, AUGUST = MONTHS = Month.range(Month(2023, 4), Month(2023, 8))
PROMOTE, KEEP, REFUSE = (
    Verdict(outcome, (f"by hand: {outcome}",), {}) for outcome in ("promote", "keep", "refuse")
)

# A model's error grows by 0.1 with each month of age; August has a larger error.
RMSE = {
    (model, month): 4.0 + 0.1 * age + (0.5 if month == AUGUST else 0.0)
    for position, model in enumerate(MONTHS)
    for age, month in enumerate(MONTHS[position:])
}
SECONDS = {month: 60.0 * (1 + position) for position, month in enumerate(MONTHS)}


def rmse(model: Month, month: Month) -> float:
    return RMSE[model, month]


def played(policy: Policy, verdicts: dict[Month, Verdict] | None = None) -> tuple[Served, ...]:
    """Backtest of the policy on five months; models that `verdicts` does not name are promoted."""
    return simulate(
        policy, MONTHS, rmse, lambda new, old: (verdicts or {}).get(new, PROMOTE), SECONDS.__getitem__
    )


def champions(served: tuple[Served, ...]) -> list[Month | None]:
    return [each.champion for each in served]


# --- Serving ------------------------------------------------------------------------------------------------


def test_every_new_model_serves_from_the_month_after_its_test() -> None:
    served = played(Policy(1, 12, "always"))
    assert champions(served) == [None, APRIL, MAY, JUNE, JULY]
    assert [each.rmse for each in served[1:]] == pytest.approx([4.1, 4.1, 4.1, 4.6])
    assert np.isnan(served[0].rmse)
    assert [each.seconds for each in served] == [60, 120, 180, 240, 300]


def test_a_cadence_of_two_trains_about_every_other_month() -> None:
    served = played(Policy(2, 12, "always"))
    assert champions(served) == [None, APRIL, APRIL, JUNE, JUNE]
    assert [each.verdict is not None for each in served] == [True, False, True, False, True]
    assert [each.seconds for each in served] == [60, 0, 180, 0, 300]
    assert [each.rmse for each in served[1:]] == pytest.approx([4.1, 4.2, 4.1, 4.7])


def test_the_first_model_stays_whatever_the_cadence() -> None:
    for cadence in (1, 3):
        served = played(Policy(cadence, 12, "once"))
        assert champions(served) == [None, APRIL, APRIL, APRIL, APRIL]
        assert [each.seconds for each in served] == [60, 0, 0, 0, 0]
        assert [each.rmse for each in served[1:]] == pytest.approx([4.1, 4.2, 4.3, 4.9])


def test_a_verdict_keeps_or_promotes_and_is_recorded() -> None:
    served = played(Policy(1, 12, "verdict"), {MAY: KEEP, JULY: REFUSE})
    assert champions(served) == [None, APRIL, APRIL, JUNE, JUNE]
    assert [each.verdict for each in served] == [PROMOTE, KEEP, PROMOTE, REFUSE, PROMOTE]


def test_without_a_first_champion_nothing_serves_until_there_is_one() -> None:
    served = played(Policy(1, 12, "verdict"), {APRIL: REFUSE, MAY: REFUSE})
    assert champions(served) == [None, None, None, JUNE, JULY]
    assert np.isnan([each.rmse for each in served[:3]]).all()


def test_only_the_verdict_gate_compares_challenger_and_champion() -> None:
    asked: list[tuple[Month, Month | None]] = []

    def judge(challenger: Month, champion: Month | None) -> Verdict:
        asked.append((challenger, champion))
        return KEEP if champion else PROMOTE

    for gate in ("always", "once"):
        simulate(Policy(1, 12, gate), MONTHS, rmse, judge, SECONDS.__getitem__)
    assert asked == []
    simulate(Policy(2, 12, "verdict"), MONTHS, rmse, judge, SECONDS.__getitem__)
    assert asked == [(APRIL, None), (JUNE, APRIL), (AUGUST, APRIL)]


@given(
    cadence=st.integers(1, 7),
    gate=st.sampled_from(list(policies.GATES)),
    count=st.integers(2, 24),
    outcomes=st.lists(st.sampled_from([PROMOTE, KEEP, REFUSE]), min_size=24, max_size=24),
)
def test_no_model_serves_a_month_that_it_was_tested_or_trained_on(
    cadence: int, gate: str, count: int, outcomes: list[Verdict]
) -> None:
    months = Month.range(APRIL, APRIL + (count - 1))
    verdicts = dict(zip(months, outcomes, strict=False))
    scored: list[tuple[Month, Month]] = []

    def score(model: Month, month: Month) -> float:
        scored.append((model, month))
        return 4.0

    policy = Policy(cadence, 12, gate)
    served = simulate(policy, months, score, lambda new, old: verdicts[new], lambda model: 1.0)
    # A model is trained on months before its test month.
    assert all(model < month for model, month in scored)
    assert scored == [(each.champion, each.month) for each in served if each.champion]
    reported = policies.compared({policy: served}).iloc[0]
    trained = [each.month for each in served if each.verdict]
    assert reported["trainings"] == reported["cpu_minutes"] * 60 == len(trained)
    if gate == "always":
        assert reported["promotions"] == reported["trainings"] == len(months[::cadence])
    if gate == "once":
        assert trained == [APRIL]
    promoted = [each.month for each in served if each.verdict and each.verdict.promote]
    for each in served:
        assert each.champion == max((month for month in promoted if month < each.month), default=None)


# --- Tables -------------------------------------------------------------------------------------------------


@pytest.fixture
def outcomes() -> policies.Outcomes:
    return {
        Policy(1, 3, "verdict"): played(Policy(1, 3, "verdict"), {APRIL: REFUSE}),
        Policy(1, 12, "once"): played(Policy(1, 12, "once")),
        Policy(1, 12, "always"): played(Policy(1, 12, "always")),
    }


def test_policies_are_compared_best_first_and_those_that_left_months_unserved_last(
    outcomes: policies.Outcomes,
) -> None:
    table = policies.compared(outcomes)
    assert list(table["gate"]) == ["always", "once", "verdict"]
    assert list(table["unserved"]) == [0, 0, 1]
    assert list(table["mean_rmse"]) == pytest.approx(
        [(4.1 * 3 + 4.6) / 4, (4.1 + 4.2 + 4.3 + 4.9) / 4, 12.8 / 3]
    )
    assert list(table["worst_rmse"]) == pytest.approx([4.6, 4.9, 4.6])
    assert set(table["worst_month"]) == {"2023-08"}
    assert list(table["promotions"]) == [5, 1, 4]
    assert list(table["trainings"]) == [5, 1, 5]
    assert list(table["cpu_minutes"]) == [15, 1, 15]


def test_a_policy_under_which_nothing_ever_served() -> None:
    policy = Policy(1, 3, "verdict")
    row = policies.compared({policy: played(policy, dict.fromkeys(MONTHS, REFUSE))}).iloc[0]
    assert (row["unserved"], row["promotions"], row["trainings"], row["worst_month"]) == (4, 0, 5, "")
    assert np.isnan(row["mean_rmse"])


def test_month_by_month(outcomes: policies.Outcomes) -> None:
    table = policies.by_month(outcomes)
    assert len(table) == 15
    refused, first = table.iloc[0], table.iloc[1]
    assert (refused["month"], refused["champion"], refused["verdict"]) == ("2023-04", "", "refuse")
    assert refused["reason"] == "by hand: refuse"
    assert (first["month"], first["champion"], first["verdict"]) == ("2023-05", "", "promote")
    always = table[table["gate"] == "always"].set_index("month")
    assert always.loc["2023-08", ["champion", "rmse", "trained", "cpu_minutes"]].tolist() == [
        "2023-07", pytest.approx(4.6), True, 5.0,
    ]  # fmt: skip


def test_the_text_has_no_cadence_for_a_policy_that_trains_once(
    outcomes: policies.Outcomes, tmp_path: Path
) -> None:
    text = str(Replayed("green", MONTHS, outcomes, tmp_path))
    assert "first test month 2023-04, served from 2023-05 to 2023-08" in text
    rows = [line.split() for line in text.splitlines()[3:6]]
    assert [row[:4] for row in rows] == [
        ["1", "12", "always", "4.2250"], ["-", "12", "once", "4.3750"], ["1", "3", "verdict", "4.2667"],
    ]  # fmt: skip
    assert "unserved" in text.splitlines()[2]


def test_the_picture_is_drawn_for_any_number_of_policies(outcomes: policies.Outcomes, tmp_path: Path) -> None:
    from matplotlib.image import imread

    for number, drawn in enumerate((outcomes, dict([*outcomes.items()][:1]))):
        policies.draw(drawn, tmp_path / f"{number}.png", "green")
        picture = imread(tmp_path / f"{number}.png")
        assert picture.shape[0] > 500
        colours = {tuple(colour) for colour in (picture[::2, ::2, :3].reshape(-1, 3) * 255).astype(int)}
        assert (20, 81, 143) in colours  # of the verdict
        assert ((240, 160, 75) in colours) == (len(drawn) > 1)


# --- Policies -----------------------------------------------------------------------------------------------


def test_policies_are_all_combinations_each_once() -> None:
    found = policies.parse(" 3,1,3", "12", "always,once")
    assert found == (Policy(1, 12, "always"), Policy(1, 12, "once"), Policy(3, 12, "always"))


@pytest.mark.parametrize(
    ("cadences", "windows", "gates", "reported"),
    [
        ("1,x", "3", "always", "cadences: expected months, whole numbers from 1 to 120; got 'x' in '1,x'"),
        ("0", "3", "always", "cadences: expected months, whole numbers from 1 to 120; got '0'"),
        ("1", "121", "always", "windows: expected months, whole numbers from 1 to 120; got '121'"),
        ("1", ",", "always", "windows: expected a comma-separated list, for example 1,3; got ','"),
        (
            "1",
            "3",
            "allways",
            "gates: expected one or more of verdict, always, once; got 'allways'; did you mean 'always'?",
        ),
    ],
)
def test_invalid_policies_are_refused(cadences: str, windows: str, gates: str, reported: str) -> None:
    with pytest.raises(ConfigError) as raised:
        policies.parse(cadences, windows, gates)
    assert reported in str(raised.value)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the months 2023-01 to 2023-04, without 2023-03."""
    for month in (Month(2023, 1), Month(2023, 2), Month(2023, 4)):
        write_month(tmp_path / "months" / f"green_tripdata_{month}.parquet", "green", month, rows=300)
    return tmp_path / "months"


@pytest.mark.parametrize(
    ("first", "last", "error", "reported"),
    [
        ("2023-04", "2023-03", ConfigError, "from 2023-04 to 2023-03: expected a last month after the first"),
        ("2023-04", "2023-04", ConfigError, "serves from the next month on"),
        ("April", "2023-04", ConfigError, "expected YYYY-MM, for example 2023-10; got 'April'"),
        (
            "2023-04",
            "2023-05",
            MonthNotPublishedError,
            "green 2023-03: the validation month is not published",
        ),
        ("2023-07", "2023-08", MonthNotPublishedError, "green 2023-07: the test month is not published"),
    ],
)
def test_months_that_cannot_be_replayed(
    first: str, last: str, error: type[Exception], reported: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reported):
        replay(Settings(source=str(source)), first, last, [Policy(1, 2, "always")], tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_a_served_month_must_be_available_even_without_a_training(source: Path, tmp_path: Path) -> None:
    write_month(source / "green_tripdata_2023-03.parquet", "green", Month(2023, 3), rows=300)
    with pytest.raises(MonthNotPublishedError, match="green 2023-06: the test month is not published"):
        replay(
            Settings(source=str(source)), "2023-03", "2023-06", [Policy(1, 2, "once")], tmp_path / "output"
        )
    assert not (tmp_path / "output").exists()
