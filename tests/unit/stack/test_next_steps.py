"""`stack.next_steps`: what `make demo` says at its end about the model, its card and what to do."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from support.champions import crown
from support.tracked import NAME, mlflow_client

from mlops.registry import versions
from mlops.registry.run_lifecycle import start_run
from stack import next_steps


@pytest.fixture
def state(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a store, as its commands find it; its path has what an address must escape."""
    monkeypatch.setenv("MLOPS_STATE_DIR", str(store))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return store


def make_champion(state: Path, card: str = "") -> None:
    with start_run(NAME, "green 2023-06", "ab" * 32) as run:
        if card:
            run.log_text(next_steps.CARD, card)
    mlflow_client().create_registered_model(NAME)
    made = mlflow_client().create_model_version(NAME, (state / "model").as_uri(), run_id=run.run_id)
    crown(made.version)


def test_the_card_s_address_opens_the_card(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_champion(state, card="<p>a card</p>")
    monkeypatch.setattr(sys, "argv", ["next_steps", NAME])
    next_steps.main()
    said = capsys.readouterr().out
    (address,) = [line.split()[-1] for line in said.splitlines() if line.startswith("its card")]
    with urlopen(address) as opened:
        assert opened.read() == b"<p>a card</p>"
    assert f"#/models/{NAME}/versions/1" in said
    assert "`make mlflow`" in said


def test_three_things_to_do_and_a_request_to_copy(state: Path) -> None:
    make_champion(state)
    said = list(next_steps.lines(NAME))
    assert not [line for line in said if line.startswith("its card")]
    assert [line.split("  ")[1] for line in said[said.index("next:") + 1 :][:3]] == [
        "look at the card",
        "make editor",
        "make serve",
    ]
    words = shlex.split(said[-1])
    assert words[2] == "http://127.0.0.1:8000/predict"
    assert set(json.loads(words[-1])) >= {"pickup_at", "pickup_zone", "dropoff_zone"}


def test_a_card_elsewhere_has_no_address_here(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_champion(state, card="<p>a card</p>")
    champion = versions.champion(NAME)
    assert champion is not None
    assert next_steps.card_of(champion)
    run = mlflow_client().get_run(champion.run_id)
    run.info._artifact_uri = "mlflow-artifacts:/1/artifacts"
    monkeypatch.setattr(type(mlflow_client()), "get_run", lambda *_: run)
    assert next_steps.card_of(champion) == ""


def test_without_a_champion_it_says_nothing(state: Path) -> None:
    assert list(next_steps.lines(NAME)) == []
