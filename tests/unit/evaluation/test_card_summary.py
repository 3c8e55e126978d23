"""The first lines of a card, for somebody who manages drivers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.cards import CARD, PASSED

from mlops.evaluation.card_summary import in_short


def test_a_card_begins_with_four_answers() -> None:
    assert in_short(CARD) == {
        "How good is it?": "Half of the 61,234 rides of 2023-06 took within 2.0 minutes of the prediction, nine "
        "of ten within 6.5 minutes.",
        "Better than what?": "Its error (RMSE, in which large misses weigh more) is 4.41 minutes: "
        "1.9% less than the champion (version 3), "
        "21.2% less than the pair median (the usual minutes between the two zones), 13.5% less than the course.",
        "Where is it weakest?": in_short(CARD)["Where is it weakest?"],
        "May it be used?": "Yes. By these rules, without a person, it became the champion: the version that "
        "answers requests.",
    }


def test_what_is_not_known_is_left_out() -> None:
    bare = replace(
        CARD,
        measured={"test_rows": 5},
        contenders=CARD.contenders.head(1),
        by_slice=CARD.by_slice.assign(rows=999),
    )

    assert list(in_short(bare)) == ["May it be used?"]
    without_half = in_short(replace(CARD, half_within=None))["How good is it?"]
    assert (
        without_half
        == "Nine of ten of the 61,234 rides of 2023-06 took within 6.5 minutes of the prediction."
    )


def test_a_larger_error_than_another_is_said() -> None:
    worse = replace(CARD, contenders=CARD.contenders.assign(rmse=[5.0, 4.0, 5.6, 0.0]))

    assert (
        "5.00 minutes: 25.0% more than the champion (version 3), 10.7% less"
        in in_short(worse)["Better than what?"]
    )


def test_it_is_weakest_in_the_largest_error_of_a_large_group_that_the_verdict_checks() -> None:
    table = CARD.by_slice[CARD.by_slice["slice"] == "distance"].head(3).reset_index(drop=True)
    table = table.assign(
        rmse=[3.0, 7.25, 9.0], rows=[5000, 1000, 999], value=["1-2 mi", "10 mi and more", "x"]
    )
    single = table.head(1).assign(slice="hour", value="17", rmse=50.0)
    card = replace(CARD, by_slice=table.merge(single, how="outer"))

    assert in_short(card)["Where is it weakest?"] == (
        "For rides of 10 miles and more: there its RMSE is 7.2 minutes (1,000 rides)."
    )


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        (
            {"outcome": "keep"},
            "There is no need to: the champion at that time was kept, and answers requests.",
        ),
        ({"outcome": "refuse"}, "No. It is not fit for use, or it could not be compared fairly."),
        (
            {"waits": "every promotion needs an approval"},
            "Not before a person approves it: every promotion needs",
        ),
        ({"verification": None}, "Not yet: the registered version has not been loaded and checked."),
        (
            {"verification": {**PASSED, "passed": False}},
            "No. The registered version was loaded and checked, and failed.",
        ),
        (
            {"experiment": "odd", "outcome": "refuse", "verification": None},
            "No, this is an experiment. By the rules for versions, it would be refused.",
        ),
    ],
)
def test_whether_it_may_be_used_is_said_in_words(changes: dict[str, object], answer: str) -> None:
    assert in_short(replace(CARD, **changes))["May it be used?"].startswith(answer)
