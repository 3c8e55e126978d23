"""What MLflow's pages say about a model and its versions: true at each move, short, with links that stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import listed
from support.sound_versions import crown
from support.tracked import KEY, NAME, bare_version, fails_at, mlflow_client

from mlops.errors import TrackingError
from mlops.registry import alias_log, approvals, descriptions, operator, server_facts, versions
from mlops.registry.alias_log import BY_OPERATOR, CHAMPION, ROLLBACK
from mlops.registry.client import MlflowException
from mlops.registry.descriptions import LONGEST, MARK, below

JUDGED = {"run_key": KEY, "artefact_sha256": "ab", "verdict": "promote", "proof": "passed"}
MONTHS = {"first_month_learnt": "2023-01", "last_month_learnt": "2023-03", "test_month": "2023-04"}
REASON = "RMSE 4.1 is 2 % below the RMSE 4.2 of the champion (version 1)"


@pytest.fixture
def three(store: Path) -> Iterator[str]:
    """Versions 1 (champion), 2 (keep) and 3 (promote) of one run; its id."""
    experiment = mlflow_client().create_experiment(NAME, store.as_uri())
    run = str(mlflow_client().create_run(experiment).info.run_id)
    for number, verdict in enumerate(("promote", "keep", "promote"), 1):
        tags = {**JUDGED, **MONTHS, "verdict": verdict, "reason": REASON, "test_rmse": f"4.{number}23456"}
        bare_version(store, run_id=run, outcome="challenger", **tags)
    move("1")
    yield run


def move(number: str, verdict: str = "promote", overridden: str = "") -> None:
    """Move `champion`, as a run or a command does."""
    alias_log.move(
        NAME, CHAMPION, number, by="me", verdict=verdict, reason="looked at it", overrides=overridden
    )
    descriptions.refresh(NAME)


def of_model() -> str:
    return str(mlflow_client().get_registered_model(NAME).description)


def of_version(number: str) -> str:
    return str(mlflow_client().get_model_version(NAME, number).description)


def test_the_model_says_what_it_predicts_who_is_champion_and_where_to_look(three: str) -> None:
    descriptions.refresh(NAME)
    experiment = mlflow_client().get_experiment_by_name(NAME).experiment_id
    since = alias_log.read(NAME)[0].at[:16].replace("T", " ")
    run, mode = f"#/experiments/{experiment}/runs/{three}", server_facts.MODE
    page = f"#/models/{NAME}/versions/1?{mode}"

    first, mark, champion, links, load, moves = of_model().split("\n\n")
    assert first == descriptions.of_new_model(NAME)
    assert "synthetic city" in first
    assert mark == MARK
    assert champion == (
        f"**Champion: [version 1]({page})** since {since} UTC. RMSE 4.12 minutes on the trips of 2023-04; "
        "trained on 2023-01 to 2023-03"
    )
    assert links.split(" · ") == [
        f"[Model card]({run}/artifacts/model_card.html?{mode})",
        f"[Verdict with its evidence]({run}/artifacts/verdict.json?{mode})",
        f"[Run]({run}?{mode})",
        f"[All runs](#/experiments/{experiment}/runs?{mode})",
    ]
    assert load == f'Load the champion: `mlflow.pyfunc.load_model("models:/{NAME}@champion")`'
    assert moves.endswith(f"`python -m mlops registry --model {NAME}`")
    visible = {key: text for key, text in mlflow_client().get_registered_model(NAME).tags.items()
               if not key.startswith("mlflow.")}  # fmt: skip
    assert visible == {"champion": "2023-04, RMSE 4.12"}


@pytest.mark.usefixtures("three")
def test_every_move_of_a_person_is_on_the_pages_at_once() -> None:
    move("2", BY_OPERATOR, "keep")
    assert "**Champion: [version 2](" in of_model()
    assert "**Verdict: keep**: RMSE 4.1 is 2 % below" in of_version("2")
    assert re.search(
        r"\*\*Verdict overridden\*\*: made champion overriding keep, by .* \(by operator\): looked at",
        of_version("2"),
    )
    assert re.search(r"Champion from .* UTC until now", of_version("2"))
    assert re.search(r"Champion from .* UTC until \d.* UTC\n", of_version("1"))
    assert "Not champion so far" in of_version("3")

    move("1", ROLLBACK)
    assert "**Champion: [version 1](" in of_model()
    assert of_version("1").count("UTC until") == 2
    assert mlflow_client().get_registered_model(NAME).tags["champion"] == "2023-04, RMSE 4.12"


@pytest.mark.usefixtures("three")
def test_what_waits_for_approval_is_on_both_pages_until_it_is_approved() -> None:
    third = versions.get(NAME, "3")
    versions.tag(third, approvals.tag_of(third, "every promotion needs an approval"))
    descriptions.refresh(NAME)
    waits = (
        r"\*\*Version 3 waits for approval\*\* since \S+ \S+ UTC: every promotion needs an approval\. To make"
    )
    assert all(re.search(waits, text) for text in (of_model(), of_version("3")))
    assert f"`python -m mlops approve 3 --model {NAME} --reason ...`" in of_model()

    move("3", alias_log.APPROVED)
    assert not any("waits" in text for text in (of_model(), of_version("3")))


@pytest.mark.usefixtures("three")
def test_an_alias_that_was_deleted_by_hand_is_said_by_the_next_command_that_notices() -> None:
    mlflow_client().delete_registered_model_alias(NAME, CHAMPION)
    assert "NOTE: No version is champion since 20" in listed.listing(NAME)
    assert listed.listing(NAME).endswith("UTC: somebody deleted the alias, or version 1, in MLflow")
    with pytest.raises(TrackingError, match=r"there is no champion\. No version is champion since 20"):
        listed.champion(NAME)

    assert "**No version is champion** since" in of_model()
    assert mlflow_client().get_registered_model(NAME).tags["champion"] == "none"


@pytest.mark.usefixtures("three")
def test_what_a_person_wrote_above_the_mark_stays() -> None:
    descriptions.refresh(NAME)
    mlflow_client().update_registered_model(NAME, f"Ask the dispatchers.\n\n{MARK}\n\nold")
    versions.describe(versions.get(NAME, "1"), "Good at night.")
    descriptions.refresh(NAME)

    assert of_model().startswith(f"Ask the dispatchers.\n\n{MARK}\n\n**Champion: ")
    assert of_version("1").startswith(f"Good at night.\n\n{MARK}\n\n**Verdict: promote**")
    full = "x" * (LONGEST - 10)
    assert below(full, "more") == full
    assert len(below("x" * 4000, "y" * 900)) <= LONGEST


@pytest.mark.usefixtures("three")
def test_the_sentence_of_earlier_releases_is_replaced() -> None:
    for text in ("", f"\n\n{MARK}\n\nold"):
        mlflow_client().update_registered_model(NAME, f"{descriptions.FORMER}{text}")
        descriptions.refresh(NAME)
        assert of_model().startswith(f"{descriptions.of_new_model(NAME)}\n\n{MARK}\n\n**Champion: ")


@pytest.mark.usefixtures("three")
def test_nothing_is_written_where_nothing_changed() -> None:
    descriptions.refresh(NAME)
    at = mlflow_client().get_registered_model(NAME).last_updated_timestamp
    descriptions.refresh(NAME)
    assert mlflow_client().get_registered_model(NAME).last_updated_timestamp == at


@pytest.mark.usefixtures("sound")
def test_a_command_that_moves_champion_describes_it_and_a_failure_to_do_so_undoes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    crown("1")
    operator.promote(NAME, "2", "looked at it")
    assert "**Champion: [version 2](" in of_model()
    with fails_at("update_registered_model", MlflowException("permission denied")):
        operator.rollback(NAME, "slow")

    assert alias_log.current(NAME, CHAMPION) == "1"
    assert "**Champion: [version 2](" in of_model()
    assert f"{NAME}: its pages in MLflow may show an earlier state: " in caplog.text


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    "method", ["update_model_version", "get_experiment_by_name", "search_model_versions"]
)
def test_a_failure_is_only_logged(method: str, caplog: pytest.LogCaptureFixture) -> None:
    versions.describe(versions.get(NAME, "1"), "")
    with fails_at(method, MlflowException("permission denied")):
        descriptions.refresh(NAME)
    assert "permission denied" in caplog.text


@pytest.mark.usefixtures("three")
def test_a_text_of_somebody_else_is_no_markup() -> None:
    odd = "<img src=x onerror=alert(1)> [link](javascript:alert(1)) **bold** `code`\n# head"
    mlflow_client().set_model_version_tag(NAME, "1", "reason", odd)
    descriptions.refresh(NAME)

    text = of_version("1")
    assert "<img" not in text
    assert r"\[link\](javascript" in text
    assert r"\*\*bold\*\* \`code\` \# head" in text


def test_a_version_of_another_program_has_no_links_and_keeps_its_description(store: Path) -> None:
    bare_version(store, outcome="x")
    mlflow_client().set_registered_model_alias(NAME, CHAMPION, "1")
    descriptions.refresh(NAME)

    assert not of_version("1") or of_version("1") == "None"
    assert "**Champion: [version 1](" in of_model()
    assert "RMSE ? minutes on the trips of ?; trained on ? to ?" in of_model()
    assert "Model card" not in of_model()
