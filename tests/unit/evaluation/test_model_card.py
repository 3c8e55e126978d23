"""The model card as Markdown: what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import jinja2
import pandas as pd
import pytest
from support.cards import CARD, PASSED, make_card, rows, section

from mlops.evaluation.model_card import OUTCOMES, markdown, page

# --- Content ------------------------------------------------------------------------------------------------


def test_the_sections_follow_each_other() -> None:
    text = markdown(CARD)

    assert text.startswith(
        "# trip-duration-green, version 7, tested on 2023-06\n\n"
        "Predicts how many minutes a ride in a green taxi in New York"
    )
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        "Verdict",
        "Test results",
        "Slices with the largest error",
        "Data",
        "Feature importance",
        "Intended use and limits",
        "Settings",
        "How to reproduce",
    ]
    assert "/secret/place" not in text


def test_without_a_version_there_is_no_number() -> None:
    text = markdown(replace(CARD, version=None))

    assert text.startswith("# trip-duration-green, tested on 2023-06\n")
    assert "python -m mlops reproduce NUMBER --model trip-duration-green" in text


@pytest.mark.parametrize(
    ("service", "ride"),
    [("green", "a green taxi"), ("yellow", "a yellow taxi"), ("fhvhv", "an Uber or Lyft car")],
)
def test_it_says_whose_rides(service: str, ride: str) -> None:
    assert f"a ride in {ride} in New York" in markdown(make_card(service=service))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_verdict_gives_every_reason(outcome: str) -> None:
    card = replace(CARD, outcome=outcome)
    verdict = section(markdown(card), "Verdict")

    assert verdict.startswith(
        f"\n{OUTCOMES[outcome]}\n\n- RMSE improves by 1.9 %\n- no slice gets worse by more than 5 %\n\n"
    )
    assert f'<main class="{outcome}">' in page(card)


def test_the_verdict_says_what_the_verification_found() -> None:
    passed, failed, none = (
        section(markdown(replace(CARD, verification=verification)), "Verdict")
        for verification in (PASSED, {"passed": False, "reason": "the artefact is damaged"}, None)
    )

    assert "**passed**" in passed
    assert "predicted 61,234 trips at once and 300 one by one" in passed
    assert "The largest difference from the tested predictions is 2e-14 minutes." in passed
    assert "**failed**, so this version does not become champion: the artefact is damaged" in failed
    assert "Verification: not done yet." in none


def test_contenders_are_compared_with_their_intervals() -> None:
    text = section(markdown(CARD), "Test results")

    assert "Measured on all 61,234 trips of 2023-06" in text
    assert rows(text)[:4] == [
        ["challenger", "4.412", "4.300 to 4.500"],
        ["champion (version 3)", "4.500", "4.400 to 4.600"],
        ["pair median", "5.600", "5.500 to 5.700"],
        ["course", "5.100", "–"],
    ]


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (
            (0.08761, 0.0512, 0.1234),
            "Its RMSE is 0.088 minutes below the champion's. "
            "The 95 % interval of the gain in RMSE is 0.051 to 0.123 minutes.",
        ),
        (
            (-0.02, -0.05, 0.01),
            "Its RMSE is 0.020 minutes above the champion's. "
            "The 95 % interval of the gain in RMSE is -0.050 to 0.010 minutes.",
        ),
        (None, "This version was not compared with a champion."),
    ],
)
def test_the_gain_over_the_champion_is_shown(gain: tuple[float, float, float] | None, sentence: str) -> None:
    assert sentence in section(markdown(replace(CARD, gain=gain)), "Test results")


def test_the_other_metrics_are_those_that_were_measured() -> None:
    found = rows(section(markdown(CARD), "Test results"))[4:]
    fewer = replace(CARD, measured={"test_rows": 5, "test_mae": 2.9})

    assert [value for _, value in found] == [
        "2.900", "6.500", "-0.100", "0.800", "0.803", "0.710", "0.951", "0.900",
    ]  # fmt: skip
    assert rows(section(markdown(fewer), "Test results"))[4:] == [["mean absolute error (minutes)", "2.900"]]


def test_the_worst_slices_of_some_size_come_worst_first() -> None:
    tiny = CARD.by_slice.head(1).assign(rows=99, rmse=50.0)
    enough = CARD.by_slice.head(1).assign(rows=100, rmse=40.0)
    with_both = replace(CARD, by_slice=pd.concat([tiny, enough, CARD.by_slice]))
    found = rows(section(markdown(with_both), "Slices with the largest error"))

    assert len(found) == 8
    assert found[0][2:4] == ["100", "40.000"]
    assert found[1][:2] == ["hour", "17"]
    assert [float(row[3]) for row in found] == sorted((float(row[3]) for row in found), reverse=True)


def test_every_slice_has_the_champion_s_error() -> None:
    beside = replace(CARD, by_slice=CARD.by_slice.assign(champion_rmse=7.25))

    assert {row[4] for row in rows(section(markdown(beside), "Slices with the largest error"))} == {"7.250"}
    head = "| slice | value | trips | RMSE | MAE | bias | in 80 % | in 95 % |"
    assert head in markdown(CARD)
    assert head.replace("| MAE", "| champion's RMSE | MAE") in markdown(beside)


def test_the_months_are_listed_with_what_was_rejected() -> None:
    text = section(markdown(CARD), "Data")

    assert rows(text) == [
        ["2023-06", "test", "65,000", "61,000", "0123456789ab"],
        ["2023-05", "validation", "60,000", "58,000", "fedcba987654"],
        ["2023-04", "training", "61,000", "59,000", "0123456789ab"],
        ["2023-03", "training", "62,000", "60,500", "0123456789ab"],
        ["over 60 minutes", "4,000", "2,000", "2,500"],
        ["zone unknown", "0", "0", "1,000"],
    ]
    assert "| rule | test | validation | training |" in text
    assert text.rstrip().endswith(
        "Months that differ from the months before them:\n\n- 2023-03: twice the rows"
    )


def test_ordinary_months_have_no_remark() -> None:
    assert "Months that differ" not in markdown(replace(CARD, months=CARD.months.assign(unusual="")))


def test_every_feature_stands_with_its_share_of_the_gain() -> None:
    assert rows(section(markdown(CARD), "Feature importance")) == [
        ["pace_minutes", "0.750"], ["weekday", "0.250"], ["month", "0.000"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("use_distance", "sentence"),
    [
        (True, "The distance in the training data is the taximeter's, known only at the end of a ride"),
        (False, "No distance is used."),
    ],
)
def test_it_says_whether_the_meters_distance_is_used(use_distance: bool, sentence: str) -> None:
    assert f"- {sentence}" in section(
        markdown(make_card(use_distance=use_distance)), "Intended use and limits"
    )


def test_a_model_of_the_sample_says_so() -> None:
    assert "Trained on synthetic trips of an invented city" in markdown(make_card(source="sample"))
    assert "invented" not in markdown(make_card(source="tlc"))


def test_every_setting_and_origin_is_repeated() -> None:
    card = make_card(seed=5)

    assert rows(section(markdown(card), "Settings")) == [list(pair) for pair in card.settings.items()]
    text = section(markdown(card), "How to reproduce")
    assert rows(text) == [[name.replace("_", " "), value] for name, value in card.origin.items()]
    assert "```sh\npython -m mlops reproduce 7 --model trip-duration-green\n```" in text
    assert 'mlflow.pyfunc.load_model("models:/trip-duration-green/7")' in text


def test_what_a_template_shows_must_be_in_the_card() -> None:
    service_and_month = {name: CARD.settings[name] for name in ("service", "month")}

    with pytest.raises(jinja2.UndefinedError, match="test_rows"):
        markdown(replace(CARD, measured={}))
    with pytest.raises(jinja2.UndefinedError, match="source"):
        markdown(replace(CARD, settings=service_and_month))


# --- Texts from outside ----------------------------------------------------------------------------------------


def test_a_text_with_bars_stays_in_its_cell() -> None:
    (line,) = (
        line for line in markdown(make_card(source="/a|b")).splitlines() if line.startswith("| source |")
    )

    assert line == "| source | /a\\|b |"


def test_a_version_with_own_rules_names_no_command_that_would_use_others() -> None:
    card = make_card()
    usual, own = (replace(card, months=card.months.assign(usual_rules=value)) for value in (True, False))

    assert "python -m mlops reproduce 7" in section(markdown(usual), "How to reproduce")
    text = section(markdown(own), "How to reproduce")
    assert (
        "The run had cleaning rules of its own. Run the pipeline that has them again, with `force`." in text
    )
    assert "mlops reproduce" not in text
