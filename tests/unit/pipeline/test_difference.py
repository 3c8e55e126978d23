"""What an experiment does differently from the champion's run is named, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mlops.config import Settings
from mlops.data.trips import RULES, Rule
from mlops.pipeline import difference, rule_texts, run_key
from mlops.pipeline.difference import Change, Difference
from mlops.pipeline.rule_texts import RuleText

OWN = RuleText("far", True, "1" * 64, "lambda trips, month: trips['distance_miles'] > 30", False)
SETTINGS = Settings(month="2023-05")


def rules_with(*own: RuleText) -> tuple[RuleText, ...]:
    usual = (RuleText(rule.name, rule.training_only, "0" * 64, "", True) for rule in RULES)
    return (*usual, *own)


def test_settings_that_change_the_result_are_compared() -> None:
    then = SETTINGS.result_settings() | {"train_months": "12", "month": "2023-04"}
    now = SETTINGS.model_copy(update={"train_months": 6, "force": True, "source": "tlc", "month": "2023-06"})

    assert list(difference._settings(then, now)) == [
        Change("setting train_months: 6; champion 12", "train_months 6 (champion 12)")
    ]


def test_a_setting_that_the_champions_run_did_not_have_counts_as_its_default() -> None:
    assert list(difference._settings({}, SETTINGS)) == []
    now = SETTINGS.model_copy(update={"seed": 7})
    assert [change.short for change in difference._settings({}, now)] == ["seed 7 (champion 42)"]


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ((), (), []),
        ((), rules_with(OWN), ["rule far (training only)"]),
        (rules_with(OWN), (), ["without rule far"]),
        (rules_with(OWN), rules_with(OWN), []),
        (rules_with(OWN), rules_with(replace(OWN, sha256="2" * 64)), ["rule far changed"]),
        ((), rules_with(OWN)[1:], ["rule far (training only)", f"without rule {RULES[0].name}"]),
    ],
)
def test_cleaning_rules_are_compared_by_what_they_do(
    then: tuple[RuleText, ...], now: tuple[RuleText, ...], words: list[str]
) -> None:
    assert [change.short for change in difference._rules(then, now)] == words


def test_a_real_rule_is_named_with_its_scope() -> None:
    own = Rule("over_10_minutes", lambda trips, month: trips["duration_minutes"] > 10)
    (change,) = difference._rules((), rule_texts.describe((*RULES, own)))
    assert change.text == "cleaning rule added: over_10_minutes (training only)"


def test_features_are_compared_unless_the_champions_are_unknown() -> None:
    found = difference._features(["hour", "weekday"], ["hour", "holiday_hours"])
    assert [change.short for change in found] == ["feature holiday_hours", "without feature weekday"]
    assert list(difference._features([], ["hour"])) == []


def test_the_champions_features_are_read_from_the_files_that_its_test_fetched(tmp_path: Path) -> None:
    attempt: Any = SimpleNamespace(checkpoint=SimpleNamespace(scratch=tmp_path))
    assert difference._champions_features(attempt) == ()
    folder = tmp_path / "champion" / "artifacts" / "data"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"format": 3, "features": ["hour", "weekday"]}')
    assert difference._champions_features(attempt) == ("hour", "weekday")


def test_code_and_packages_are_named() -> None:
    then = {"code": {"mlops/a.py": "1" * 64, "b.py": "2" * 64}, "environment": {"numpy": "1.26.3"}}
    now = {"code": {"mlops/a.py": "3" * 64, "b.py": "2" * 64}, "environment": {"numpy": "1.26.4"}}
    assert list(difference._inputs(then, now)) == [
        Change("code: mlops/a.py", "code a.py"),
        Change("environment: numpy (1.26.3, now 1.26.4)", "packages numpy"),
    ]
    assert list(difference._inputs(now, now)) == []


def test_many_files_are_a_few_words() -> None:
    now = {"code": {f"{letter}.py": "1" * 64 for letter in "abcd"}, "environment": {}}
    (change,) = difference._inputs({"code": {}}, now)
    assert change.short == "code a.py, b.py, c.py, ..."


def months(**rejected: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"role": ["test", "training"], **{f"rejected_{k}": [v, 99] for k, v in rejected.items()}}
    )


@pytest.mark.parametrize(
    ("training_only", "count", "is_noted"), [(False, 7, True), (True, 7, False), (False, 0, False)]
)
def test_trips_that_a_rule_takes_out_of_the_test_are_noted(
    training_only: bool, count: int, is_noted: bool
) -> None:
    rule = replace(OWN, training_only=training_only)
    attempt: Any = SimpleNamespace(rules=rules_with(rule), months=months(far=count, duplicate=3))
    noted = list(difference._untested(attempt))
    assert bool(noted) == is_noted
    if noted:
        assert noted[0].startswith("the test leaves out 7 trips that rule far rejects, for both models; ")


def test_the_page_names_every_change_and_note() -> None:
    found = Difference(
        "models:/m/3", (Change("setting seed: 1; champion 2", "seed 1"),), ("other months",), "+x\n"
    )
    assert found.markdown() == (
        "# What differs from the champion, models:/m/3\n\n- setting seed: 1; champion 2\n- other months\n\n"
        "The changed lines are in `code.diff`.\n"
    )
    assert found.in_words == "seed 1"
    assert found.as_record() == {
        "champion": "models:/m/3", "changes": ["setting seed: 1; champion 2"], "notes": ["other months"],
    }  # fmt: skip


def test_a_run_like_the_champions_differs_in_nothing() -> None:
    same = Difference("models:/m/3", ())
    assert same.in_words == "nothing"
    assert same.lines == ("nothing: the same settings, rules, features and code",)


def test_without_a_champion_there_is_nothing_to_differ_from() -> None:
    alone = Difference("", (), ("there is no champion",))
    assert (alone.in_words, alone.lines) == ("no champion to differ from", ("there is no champion",))
    assert alone.markdown().startswith("# There is no champion\n")


# --- Changed lines of the code ------------------------------------------------------------------------------


def changed_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str | None, then: str) -> str:
    """The diff of one file, which git knows with the text `old`, and a run hashed with the text `then`."""
    (tmp_path / "a.py").write_text("b = 2\n")
    monkeypatch.setattr(difference, "PROJECT", tmp_path)
    monkeypatch.setattr(run_key, "text_at", lambda commit, name: old if commit == "abc" else None)
    hashes = ({"a.py": run_key.hash_of(then)}, {"a.py": run_key.hash_of("b = 2\n")})
    return difference.code_diff(*hashes, "abc-dirty")


def test_the_diff_shows_changed_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert changed_code(monkeypatch, tmp_path, "b = 1\n", "b = 1\n") == (
        "--- champion: a.py\n+++ experiment: a.py\n@@ -1 +1 @@\n-b = 1\n+b = 2\n"
    )


def test_the_diff_says_when_git_does_not_have_what_ran(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reported = changed_code(monkeypatch, tmp_path, "b = 1\n", "b = 0\n")
    assert "--- champion: a.py (at its commit; it had changes that are not in git)\n" in reported


def test_without_gits_text_there_is_no_diff(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert changed_code(monkeypatch, tmp_path, None, "b = 1\n") == ""


def test_a_new_file_is_shown_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text("a = 1")
    monkeypatch.setattr(difference, "PROJECT", tmp_path)
    reported = difference.code_diff({}, {"new.py": "1" * 64}, "abc")
    assert reported == "--- champion: new.py\n+++ experiment: new.py\n@@ -0,0 +1 @@\n+a = 1\n"


def test_git_shows_a_file_at_a_commit() -> None:
    text = run_key.text_at("HEAD", "mlops/__init__.py")
    assert text is None or text.startswith('"""')  # None in an archive without git
    assert run_key.text_at("HEAD", "no such file") is None
    assert run_key.text_at("--help", "x") is None
    assert run_key.hash_of("a = 1  # one\n") == run_key.hash_of("a = 1\n") != run_key.hash_of("a = 2\n")
