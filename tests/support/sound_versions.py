"""Versions that pass a verification, and moves of `champion` between them; no training run is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.builders import make_requests
from support.tracked import NAME

from mlops.model.duration_model import DurationModel
from mlops.registry import alias_log, artifact, run_lifecycle, verification, versions
from mlops.registry.alias_log import CHAMPION, Entry
from mlops.registry.versions import OUTCOME, Version

MONTHS = {"1": "2023-05", "2": "2023-06", "3": "2023-07"}  # test month of each version


def register_sound(artefact: Path, number: str, folder: Path, **tags: str) -> Version:
    """A version that a run of this project seems to have trained, tested on its month and promoted."""
    requests = make_requests(30)
    with run_lifecycle.start_run(NAME, f"green {MONTHS[number]}", number * 64) as run:
        logged = artifact.log_model(run.run_id, run.experiment_id, artefact, requests.head(3))
        predictions = DurationModel.load(artefact).predict(requests)
        sample = verification.write_sample(folder / "sample.parquet", requests, predictions)
        run.log_files([sample], "proof")
        run.log_text("model_card.html", "<html></html>")
    about = {
        "test_month": MONTHS[number],
        "verdict": "promote",
        "reason": "it is better",
        "artefact_sha256": verification.digest(artefact),
        OUTCOME: CHAMPION,
        **tags,
    }
    return versions.register(NAME, logged, run.run_id, number * 64, about)


def crown(number: str, **changed: Any) -> Entry:
    """Make a version champion, as its training run does."""
    how = {"by": "run 1 by me@here", "verdict": "promote", "reason": "it is better", **changed}
    return alias_log.move(NAME, CHAMPION, number, **how)


def champion() -> str | None:
    return alias_log.current(NAME, CHAMPION)


def moves() -> list[tuple[str | None, str | None, str, str, str]]:
    """Every move of `champion` in the journal: from, to, by, verdict, state."""
    return [
        (e.before, e.after, e.by, e.verdict, e.state) for e in alias_log.read(NAME) if e.alias == CHAMPION
    ]
