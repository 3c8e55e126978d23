"""Settings of a scoring run: defaults, errors, and the months that training would fetch."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.config import Settings
from mlops.errors import ConfigError
from mlops.registry import alias_log
from mlops.scoring.settings import ALIASES, ScoringSettings


def test_settings_that_both_have_mean_the_same_as_in_training() -> None:
    shared = ScoringSettings.model_fields.keys() & Settings.model_fields.keys()
    assert shared == {
        "service", "month", "source", "source_patience", "connect_timeout", "tracking_patience"
    }  # fmt: skip
    for name in shared:
        assert ScoringSettings.model_fields[name].default == Settings.model_fields[name].default
    given = {"service": "yellow", "month": "2023-10", "source": "TLC", "source_patience": 7.0}
    assert ScoringSettings.parse(given).of_months() == Settings.parse(given)
    assert ScoringSettings.parse({"month": "next"}).of_months().is_next


def test_the_aliases_are_those_of_the_registry() -> None:
    assert ALIASES == (alias_log.CHAMPION, alias_log.CHALLENGER)


@pytest.mark.parametrize(("given", "version"), [(3, "3"), (" 12 ", "12"), ("challenger", "challenger")])
def test_a_version_is_an_alias_or_a_number(given: Any, version: str) -> None:
    assert ScoringSettings.parse({"version": given}).version == version


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"version": "latest"}, "version: expected champion, challenger or a number; got 'latest'"),
        ({"version": 0}, "version: expected champion, challenger or a number; got 0"),
        ({"inputs": "a.csv"}, "unknown setting 'inputs'; did you mean 'input'?"),
        (
            {"service": "gren"},
            "service: expected one of green, yellow, fhvhv; got 'gren'; did you mean 'green'?",
        ),
        (
            {"month": "2023-13"},
            "month: there is no month 2023-13; write YYYY-MM with MM from 01 to 12",
        ),
        ({"connect_timeout": 0}, "connect_timeout: input should be greater than 0; got 0"),
        ({"input": 3}, "input: input should be a valid string; got 3"),
    ],
)
def test_a_bad_value_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ScoringSettings.parse(given)
    assert str(refused.value).startswith(message)


def test_descriptions_are_without_credentials() -> None:
    addresses = {
        "input": "https://me:secret@host/a.csv?sig=secret",
        "to": "postgresql://me:secret@host/trips",
    }
    shown = ScoringSettings.parse(addresses).describe()
    assert (shown["input"], shown["to"]) == ("https://host/a.csv", "postgresql://host/trips")
