"""A promotion that waits for approval: which one waits, what a person sees, and who can change that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import listed
from support.sound_versions import champion, crown, moves
from support.tracked import NAME, mlflow_client

from mlops.errors import ConfigError, PromotionError, command
from mlops.registry import alias_log, approvals, operator, versions
from mlops.registry.approvals import TAG, why_wait

NEAR = {"improvement": 0.05, "gain_minutes": 0.2, "gain_low": 0.04}
CLEAR = {"improvement": 0.05, "gain_minutes": 0.2, "gain_low": 0.06}


@pytest.fixture
def one_champion(sound: Path) -> Path:
    """The store with three versions, of which the first is champion."""
    crown("1")
    return sound


def hold(number: str, why: str = "every promotion needs an approval") -> None:
    """Let a version wait, as its run does."""
    version = versions.get(NAME, number)
    versions.tag(version, approvals.tag_of(version, why))


def waiting() -> str | None:
    found = approvals.waiting(NAME)
    return found and found.version.number


def refused(number: str, reason: str = "looked at it", kind: type[Exception] = PromotionError) -> str:
    with pytest.raises(kind) as error:
        operator.approve(NAME, number, reason)
    return str(error.value)


# --- What must wait -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("measured", [{}, NEAR, CLEAR])
def test_by_default_nothing_waits_and_always_everything(measured: dict[str, float]) -> None:
    assert why_wait("never", measured, 0.01) == ""
    assert why_wait("always", measured, 0.01) == "every promotion needs an approval"


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (CLEAR, ""),
        ({**CLEAR, "improvement": 0.02}, ""),
        ({**CLEAR, "improvement": 0.0199}, "the gain of 1.99% is less than twice the required 1.00%"),
        ({**CLEAR, "improvement": -0.01}, "the gain of -1.00% is less than twice the required 1.00%"),
        ({**CLEAR, "gain_low": 0.05}, ""),
        (NEAR, "the 95 % interval of the gain of 0.2000 minutes begins at 0.0400, which is near zero"),
        ({"rmse_challenger": 4.0}, ""),
    ],
)
def test_borderline_is_a_small_gain_or_an_interval_near_zero(measured: dict[str, float], why: str) -> None:
    assert why_wait("borderline", measured, 0.01) == why


# --- Who waits ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_champion")
def test_the_newest_version_waits_and_replaces_an_older_one() -> None:
    assert waiting() is None
    hold("2")
    assert waiting() == "2"
    hold("3")
    assert waiting() == "3"


@pytest.mark.usefixtures("one_champion")
def test_a_version_waits_no_longer_once_champion_has_moved_even_if_it_moves_back() -> None:
    hold("2")
    crown("3")
    assert waiting() is None
    crown("1")
    assert waiting() is None
    hold("2")
    assert waiting() == "2"


@pytest.mark.usefixtures("one_champion")
def test_whoever_gives_it_the_alias_in_mlflows_page_approves_it() -> None:
    hold("2")
    mlflow_client().set_registered_model_alias(NAME, "champion", "2")
    assert waiting() is None
    text = listed.listing(NAME)

    assert "waits for approval" not in text
    assert "overrid" not in text
    assert waiting() is None
    assert champion() == "2"
    assert moves()[-1][3] == "by hand"


@pytest.mark.usefixtures("one_champion")
def test_the_first_champion_may_wait_too(tmp_path: Path) -> None:
    mlflow_client().delete_registered_model_alias(NAME, "champion")
    alias_log.reconcile(NAME)
    hold("2")

    assert waiting() == "2"
    assert operator.approve(NAME, "2", "looked at it").before is None


@pytest.mark.usefixtures("one_champion")
def test_a_version_whose_run_did_not_finish_does_not_wait() -> None:
    hold("2")
    mlflow_client().delete_model_version_tag(NAME, "2", "outcome")

    assert waiting() is None


@pytest.mark.usefixtures("one_champion")
def test_a_run_that_goes_on_after_a_crash_leaves_the_tag_as_it_is_unless_champion_moved() -> None:
    hold("2")
    before = versions.get(NAME, "2").tags[TAG]
    hold("2", "another reason")
    assert versions.get(NAME, "2").tags[TAG] == before
    crown("3")
    hold("2")
    assert versions.get(NAME, "2").tags[TAG] != before


@pytest.mark.usefixtures("one_champion")
@pytest.mark.parametrize(
    "forged", ["", "yes", "[]", "{}", "null", '{"auth": 1}', "copied", "reworded", "unsigned"]
)
def test_a_tag_that_somebody_else_wrote_counts_for_nothing(forged: str) -> None:
    hold("2")
    written = json.loads(versions.get(NAME, "2").tags[TAG])
    texts = {
        "copied": json.dumps(written),
        "reworded": json.dumps({**written, "why": "it is perfect"}),
        "bare": json.dumps({name: value for name, value in written.items() if name != "auth"}),
    }
    mlflow_client().delete_model_version_tag(NAME, "2", TAG)
    other = "3" if forged == "copied" else "2"
    mlflow_client().set_model_version_tag(NAME, other, TAG, texts.get(forged, forged))

    assert waiting() is None
    assert "does not wait for approval" in refused(other)


# --- Approval -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_champion")
def test_an_approval_verifies_the_version_and_is_in_the_journal_with_who_and_why() -> None:
    hold("3")
    mlflow_client().set_model_version_tag(NAME, "3", "proof", "")
    moved = operator.approve(NAME, "3", "looked at it with the dispatchers")

    assert str(moved) == (
        f"models:/{NAME}/3 is now champion; previous champion: version 1\n"
        f"its page: {versions.link(moved.version)}"
    )
    assert champion() == "3"
    entry = alias_log.read(NAME)[-1]
    assert (entry.by, entry.verdict, entry.reason, entry.overrides) == (
        alias_log.whoami(), "approved", "looked at it with the dispatchers", "",
    )  # fmt: skip
    assert versions.get(NAME, "3").tags["proof"] == "passed"
    assert waiting() is None


@pytest.mark.usefixtures("one_champion")
def test_an_approval_of_what_does_not_wait_is_refused_with_a_sentence() -> None:
    rule = "A version waits until a newer one does, or until champion moves. `promote` makes any version champion"
    assert refused("2") == f"{NAME}: version 2 does not wait for approval; no version waits. {rule}"
    hold("2")
    hold("3")
    assert refused("2") == f"{NAME}: version 2 does not wait for approval; version 3 waits. {rule}"
    assert refused("7") == f"{NAME}: there is no version 7; existing versions: 1, 2, 3"
    assert refused("two", kind=ConfigError).startswith(
        "version: expected the number of a version; got 'two'"[:40]
    )
    assert refused("3", " ", ConfigError).startswith("reason: expected a text that says why")
    assert champion() == "1"


@pytest.mark.usefixtures("one_champion")
def test_a_version_that_fails_its_verification_is_not_approved() -> None:
    hold("3")
    mlflow_client().set_model_version_tag(NAME, "3", "artefact_sha256", "")

    assert "cannot become champion" in refused("3")
    assert champion() == "1"


@pytest.mark.usefixtures("one_champion")
def test_the_listing_says_what_waits_and_how_to_approve_it() -> None:
    assert "waits" not in listed.listing(NAME)
    hold("3", "the gain of 1.50% is less than twice the required 1.00%")
    *_, note, act = listed.listing(NAME).splitlines()

    assert note.startswith("NOTE: version 3 waits for approval since 20")
    assert (
        " UTC: the gain of 1.50% is less than twice the required 1.00%. To make it champion, give it" in note
    )
    assert note.endswith("the alias champion in MLflow's page, or:")
    assert act.strip() == command(f"approve 3 --model {NAME} --reason ...")
