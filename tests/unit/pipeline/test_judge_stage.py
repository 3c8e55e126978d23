"""A champion that cannot be scored gives the reason, and does not end the run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.tracked import AWAY, NAME, fails_at, registered, save_artefact
from support.verified import sign_again

from mlops.config import Settings
from mlops.errors import TrackingDownError
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.pipeline import judge_stage
from mlops.pipeline.checkpoint import Checkpoint
from mlops.pipeline.fit_stage import Attempt
from mlops.registry.versions import Version

REQUESTS = make_requests(3).astype({"pickup_zone": np.int64, "dropoff_zone": np.int64})


@pytest.fixture
def champion(store: Path, tmp_path: Path) -> Version:
    return registered(save_artefact(tmp_path), last_month_learnt="2023-05")


def asked(champion: Version) -> tuple[str, Any]:
    """Why it could not be scored, and its answers."""
    kept = Checkpoint.of(NAME, "0123")
    attempt = Attempt(cast(Any, None), kept, NAME, Settings(month="2023-07"), pd.DataFrame())
    incumbent, answered = judge_stage._ask_champion(attempt, champion, REQUESTS)
    return incumbent.error, answered


def test_a_champion_is_asked_for_minutes_and_intervals(champion: Version) -> None:
    error, answered = asked(champion)
    assert error == ""
    assert {"duration_minutes", *INTERVAL_COLUMNS} <= set(answered)
    assert len(answered) == 3


@pytest.mark.parametrize(
    ("answers", "got"),
    [
        ("{'fare': [7.0, 8.0, 9.0]}", "got 3 rows with the columns ['fare']"),
        ("{'duration_minutes': ['a', 'b', 'c']}", "got 3 rows with the columns ['duration_minutes']"),
        ("{'duration_minutes': [7.0]}", "got 1 rows with the columns ['duration_minutes']"),
    ],
)
def test_a_model_of_another_kind_is_not_scored(
    answers: str, got: str, champion: Version, store: Path
) -> None:
    """Somebody made it champion by hand, and signed it."""
    (code,) = (store / "artifacts").rglob("code/*/model/duration_model.py")
    code.write_text(f"{code.read_text()}\nDurationModel.predict = lambda *_: pd.DataFrame({answers})\n")
    assert asked(sign_again(champion, code.parents[3])) == (
        f"models:/{NAME}/1 is no model of this project: expected numbers in a column duration_minutes for "
        f"3 requests; {got}",
        None,
    )


def test_a_champion_whose_files_are_gone_is_not_scored(champion: Version, store: Path) -> None:
    (described,) = (store / "artifacts").rglob("MLmodel")
    shutil.rmtree(described.parent)
    error, answered = asked(champion)
    assert error == f"models:/{NAME}/1: since it was signed, MLmodel was removed; nothing of it was executed"
    assert answered is None


def test_a_registry_that_is_away_says_nothing_about_the_champion(champion: Version) -> None:
    with pytest.raises(TrackingDownError), fails_at("get_model_version_download_uri", AWAY):
        asked(champion)
