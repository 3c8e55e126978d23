"""The model card as Markdown: what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import jinja2
import pandas as pd
import pytest
from support.cards import CARD, PASSED, make_card, rows, section

from mlops.evaluation.model_card import OUTCOMES, markdown, page, with_note

# --- Content ------------------------------------------------------------------------------------------------


def test_the_sections_follow_each_other() -> None:
    text = markdown(CARD)

    assert text.startswith(
        "# trip-duration-green, version 7, tested on 2023-06\n\n"
        "Predicts how many minutes a ride in a green taxi in New York"
    )
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        "In short",
        "Verdict",
        "Test results",
        "Ranges",
        "Slices with the largest error",
        "Feature importance",
        "Data",
        "Intended use and limits",
        "Settings",
        "How to reproduce",
    ]
    assert "/secret/place" not in text


def test_without_a_version_there_is_no_number() -> None:
    text = markdown(replace(CARD, version=None))

    assert text.startswith("# trip-duration-green, tested on 2023-06\n")
    assert ".venv/bin/python -m mlops reproduce NUMBER --model trip-duration-green" in text


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
    assert "**failed**, so its run did not make this version champion: the artefact is damaged" in failed
    assert "Verification: not done yet." in none


def test_contenders_are_compared_with_their_intervals() -> None:
    text = section(markdown(CARD), "Test results")

    assert "Measured on all 61,234 trips of 2023-06" in text
    assert rows(text)[:4] == [
        ["challenger", "4.4124", "4.3000 to 4.5000"],
        ["champion (version 3)", "4.5000", "4.4000 to 4.6000"],
        ["pair median", "5.6000", "5.5000 to 5.7000"],
        ["course", "5.1000", "–"],
    ]


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (
            (0.08761, 0.0512, 0.1234),
            "Its RMSE is 0.0876 minutes below the champion's. "
            "The 95 % interval of the gain in RMSE is 0.0512 to 0.1234 minutes.",
        ),
        (
            (-0.02, -0.05, 0.01),
            "Its RMSE is 0.0200 minutes above the champion's. "
            "The 95 % interval of the gain in RMSE is -0.0500 to 0.0100 minutes.",
        ),
        (None, "This version was not compared with a champion."),
    ],
)
def test_the_gain_over_the_champion_is_shown(gain: tuple[float, float, float] | None, sentence: str) -> None:
    assert sentence in section(markdown(replace(CARD, gain=gain)), "Test results")


def test_the_other_metrics_are_those_that_were_measured() -> None:
    found = rows(section(markdown(CARD), "Test results"))[4:]
    fewer = replace(CARD, measured={"test_rows": 5, "test_mae": 2.9})

    assert [value for _, value in found] == ["2.9000", "6.5000", "-0.1000", "0.8000"]
    assert rows(section(markdown(fewer), "Test results"))[4:] == [["mean absolute error (minutes)", "2.9000"]]


def test_the_worst_slices_of_some_size_come_worst_first() -> None:
    other = CARD.by_slice.head(1).assign(value="24")
    with_both = replace(
        CARD,
        by_slice=pd.concat(
            [other.assign(rows=999, rmse=50.0), other.assign(rows=1000, rmse=40.0), CARD.by_slice],
            ignore_index=True,
        ),
    )
    found = rows(section(markdown(with_both), "Slices with the largest error"))

    assert found[0][:4] == ["hour", "24", "1,000", "40.0000"]
    assert found[1][:2] == ["hour", "17"]
    assert [float(row[3]) for row in found] == sorted((float(row[3]) for row in found), reverse=True)
    assert 8 <= len(found) <= 10


def test_the_worst_slices_of_the_metrics_are_rows_of_the_table() -> None:
    """Also one with a small error, which is not among the largest; never one that is too small for the table."""
    odd = CARD.by_slice.tail(1).assign(slice="week", rmse=0.1, coverage_80=0.1, coverage_95=0.2)
    by_slice = pd.concat(
        [
            CARD.by_slice,
            odd.assign(value="quiet", rows=1000),
            odd.assign(value="tiny", rows=999, rmse=50.0, coverage_80=0.0, coverage_95=0.0),
        ],
        ignore_index=True,
    )
    text = markdown(replace(CARD, by_slice=by_slice, without_distance=None))
    table = {tuple(row[:2]): row for row in rows(section(text, "Slices with the largest error"))}
    named = rows(section(text, "Ranges"))[-2:]

    assert named == [
        ["80 %", "given", "week quiet", "1,000", "0.1000"], ["95 %", "given", "week quiet", "1,000", "0.2000"],
    ]  # fmt: skip
    assert table["week", "quiet"][-2:] == ["0.1000", "0.2000"]
    assert ("week", "tiny") not in table
    for column, nominal in ((-2, 0.8), (-1, 0.95)):
        distances = {abs(float(row[column]) - nominal) for row in table.values()}
        assert abs(float(table["week", "quiet"][column]) - nominal) == max(distances)


def test_the_ranges_of_all_are_side_by_side() -> None:
    text = section(markdown(CARD), "Ranges")

    assert (
        "| range | of | interval score | trips inside | mean width |\n| --- | --- | ---: | ---: | ---: |"
        in text
    )
    assert rows(text)[:5] == [
        ["80 %", "version 7", "14.5300", "0.8030", "10.2500"],
        ["80 %", "champion (version 3)", "14.7500", "0.7800", "9.5000"],
        ["80 %", "past trips", "20.4000", "0.7600", "15.5000"],
        ["80 %", "version 7, no distance given", "18.5000", "0.8100", "13.5000"],
        ["95 %", "version 7", "22.9000", "0.9510", "17.5000"],
    ]
    assert [row[:2] for row in rows(text)[8:]] == [
        ["80 %", "given"], ["95 %", "given"], ["80 %", "not given"], ["95 %", "not given"],
    ]  # fmt: skip


def test_the_error_without_a_distance_is_given_if_the_model_uses_one() -> None:
    fewer = {name: value for name, value in CARD.measured.items() if "without" not in name}
    without = replace(CARD, measured=fewer, without_distance=None)
    given, none = (section(markdown(card), "Test results") for card in (CARD, without))

    sentence = "Asked without a distance, its RMSE is 5.5000 and its mean absolute error 3.7500 minutes."
    assert sentence in given
    assert "without a distance" not in none
    assert "not given" not in section(markdown(without), "Ranges")


def test_a_month_of_few_trips_has_no_worst_slice() -> None:
    few = replace(CARD, by_slice=CARD.by_slice.assign(rows=999), without_distance=None)

    assert section(markdown(few), "Slices with the largest error").strip() == "No slice has 1,000 trips."
    assert "The slices in which" not in section(markdown(few), "Ranges")


@pytest.mark.parametrize(
    ("coverage", "sentences"),
    [
        ((0.803, 0.951), []),
        (
            (0.778, 0.951),
            ["The 80 % ranges were too narrow for this month: they contained 77.8 % of its trips."],
        ),
        (
            (0.87, 0.99),
            [
                "The 80 % ranges were too wide for this month: they contained 87.0 % of its trips.",
                "The 95 % ranges were too wide for this month: they contained 99.0 % of its trips.",
            ],
        ),
    ],
)
def test_it_says_where_an_interval_does_not_hold_what_its_name_says(
    coverage: tuple[float, float], sentences: list[str]
) -> None:
    measured = {**CARD.measured, "test_coverage_80": coverage[0], "test_coverage_95": coverage[1]}
    text = section(markdown(replace(CARD, measured=measured)), "Ranges")

    assert [line for line in text.splitlines() if "for this month" in line] == sentences


def test_the_trips_of_the_test_are_those_of_the_months_table() -> None:
    """The test counts trips that only training rejects, so it has more than the table's kept ones."""
    text = markdown(CARD)

    assert "Measured on all 61,234 trips of 2023-06 that the cleaning rules leave for a test" in text
    assert "The test counts 234 of the rejected trips of its month: only rules for training" in text
    kept = CARD.months["test_rows"]
    assert "of the rejected trips" not in markdown(replace(CARD, months=CARD.months.assign(kept=kept)))


def test_every_minute_is_rounded_as_in_the_reasons() -> None:
    """Of a version's RMSE, the reasons, the table and the sentence about the gain show the same digits.

    The words above them have fewer: nobody decides by them.
    """
    reason = f"RMSE {4.41239:.4f} is 1.95% below the RMSE {4.5:.4f} of the champion (version 3)"
    text = markdown(replace(CARD, reasons=(reason,))).partition("\n## Verdict\n")[2]

    assert re.findall(r"\b4\.41\d*", text) == ["4.4124", "4.4124"]
    assert set(re.findall(r"\b4\.50*\b", text)) == {"4.5000"}


def test_every_slice_has_the_champion_s_error() -> None:
    beside = replace(CARD, by_slice=CARD.by_slice.assign(champion_rmse=7.25))

    assert {row[4] for row in rows(section(markdown(beside), "Slices with the largest error"))} == {"7.2500"}
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
        ["over 60 minutes", "3,766", "2,000", "2,500"],
        ["zone unknown", "234", "0", "1,000"],
    ]
    assert "| rule | test | validation | training |" in text
    assert text.rstrip().endswith(
        "Months that differ from the months before them:\n\n- 2023-03: twice the rows"
    )


def test_ordinary_months_have_no_remark() -> None:
    assert "Months that differ" not in markdown(replace(CARD, months=CARD.months.assign(unusual="")))


def test_every_feature_stands_with_its_share_of_the_gain() -> None:
    assert rows(section(markdown(CARD), "Feature importance")) == [
        ["distance times the usual pace", "pace_minutes", "0.7500", "1.5000"],
        ["weekday", "weekday", "0.2500", "0.1250"],
        ["month", "month", "0.0000", "0.0000"],
    ]


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


def test_a_model_of_synthetic_trips_says_so_in_its_first_lines() -> None:
    """Wherever the months come from: their files say it."""
    synthetic = replace(make_card(source="/a/folder"), months=CARD.months.assign(sample=True))
    for card in (make_card(source="sample"), synthetic):
        title, _, purpose = markdown(card).splitlines()[:3]
        assert title == "# trip-duration-green, version 7, tested on synthetic trips of 2023-06"
        assert purpose.startswith("Trained and tested on synthetic trips of an invented city: ")
        assert "in New York" not in purpose
        assert f"<title>{title[2:]}</title>" in page(card)

    assert not re.search("invented|synthetic", markdown(make_card(source="tlc")))


def test_no_verdict_says_what_a_failed_verification_denies() -> None:
    failed = {"passed": False, "reason": "the artefact is damaged"}
    text = section(markdown(replace(CARD, outcome="promote", verification=failed)), "Verdict")

    assert "passes every check" not in text
    assert "may become champion" not in text


def test_a_note_stands_below_the_title_of_both_forms() -> None:
    """A verdict that a person overrode; the newest first, and no text in it becomes markup."""
    noted = with_note(markdown(CARD), page(CARD), "made champion by me@here: <b>because</b>")
    again = with_note(*noted, "once more")

    assert again[0].startswith(
        f"# {CARD.title}\n\n> **Note:** once more\n\n> **Note:** made champion by me@here: \\<b>because"
    )
    below = again[1].partition("</h1>")[2]
    assert re.findall("<strong>Note:</strong> (.*)</p>", below) == [
        "once more", "made champion by me@here: &lt;b&gt;because&lt;/b&gt;",
    ]  # fmt: skip
    assert below.index("Note:") < below.index("Predicts how many minutes")


def test_every_setting_and_origin_is_repeated() -> None:
    card = make_card(seed=5, force=True)
    found = rows(section(markdown(card), "Settings"))

    assert sorted(row[:2] for row in found) == sorted([list(pair) for pair in card.settings.items()])
    assert ["seed", "5", "42"] in found
    assert ["train_months", "12", ""] in found
    assert found.index(["force", "True"]) > found.index(["seed", "5", "42"])
    text = section(markdown(card), "How to reproduce")
    assert rows(text) == [[name.replace("_", " "), value] for name, value in card.origin.items()]
    assert "```sh\n.venv/bin/python -m mlops reproduce 7 --model trip-duration-green\n```" in text
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


def test_a_version_with_own_rules_names_them_in_order_and_shows_their_source() -> None:
    source = "LIMIT = 30\n# ```\ndef far(trips, month):\n\n    return trips > LIMIT"
    rules = {"zone_unknown (training only)": "", "over_30_miles (training only)": source}
    usual, own = markdown(CARD), markdown(replace(CARD, rules=rules))

    assert "of its own" not in usual
    command = "```sh\n.venv/bin/python -m mlops reproduce 7 --model trip-duration-green\n```"
    assert command in section(usual, "How to reproduce")
    assert command in section(own, "How to reproduce")
    assert "All its rules, in order: zone_unknown (training only), over_30_miles (training only)." in own
    assert (
        "Source of over_30_miles (training only):\n\n    LIMIT = 30\n    # ```\n    def far(trips, month):\n    \n"
        "        return trips > LIMIT\n"
    ) in section(own, "Data")
    assert "<pre><code>LIMIT = 30\n# ```\ndef far(trips, month):" in page(replace(CARD, rules=rules))


def test_an_experiment_says_so_first_and_what_differs() -> None:
    card = replace(
        CARD,
        version=None,
        experiment="short-trips",
        experiment_note="Train on <short> trips only",
        difference=("setting train_months: 6, champion's 12", "rule below_2_miles"),
    )
    text = markdown(card)

    assert text.startswith(
        "# trip-duration-green, experiment short-trips, tested on 2023-06\n\n"
        "**This is an experiment.** It is not registered, and nothing uses it.\n\n"
        "What it tries: Train on \\<short> trips only\n\n"
        "What differs from the champion's run:\n\n"
        "- setting train_months: 6, champion's 12\n- rule below_2_miles\n\nPredicts how many minutes"
    )
    assert "This is an experiment" not in markdown(CARD)


def test_a_version_that_waits_for_approval_says_so_in_short() -> None:
    text = markdown(replace(CARD, waits="every promotion needs an approval"))

    assert section(text, "In short").endswith(
        "\n\n**Waits for approval:** every promotion needs an approval\n"
    )
    assert "Waits for approval" not in markdown(CARD)


def test_an_experiment_has_nothing_to_verify_or_load() -> None:
    text = markdown(replace(CARD, version=None, experiment="odd", verification=None))

    assert "By the rules for versions, which an experiment never becomes." in section(text, "Verdict")
    assert not re.search("Verification|mlops reproduce|load_model|mlops registry", text)
    assert "train again with these settings" in section(text, "How to reproduce")
