"""What the last check for a new month found, as a tag of the registered model, so that any machine can read it.

A check by training and a check by monitoring have a tag each: one that comes every day must not hide that the
other has ended. MLflow's pages do not show a tag whose name begins with ``mlflow.``.

The tag is a note for people, and it is not signed: nothing is decided by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Literal, get_args

from mlops.errors import one_line
from mlops.registry import server_facts
from mlops.registry.client import MlflowException, mlflow_client, with_retry

Outcome = Literal["judged", "not_published", "nothing_to_do", "failed"]
Work = Literal["training", "monitoring"]
TAGS: Final[dict[Work, str]] = {
    "training": "mlflow.mlops.last_check",
    "monitoring": "mlflow.mlops.last_check.monitoring",
}
MOST_TEXT: Final = 1000  # characters; a tag holds 5,000, and JSON writes some characters as two


@dataclass(frozen=True)
class LastCheck:
    """What a check for a new month found.

    Parameters
    ----------
    at : datetime
        When it ended, UTC.
    month : str
        The month that was judged or is waited for, YYYY-MM; empty if there is none, or it is not known.
    outcome : {"judged", "not_published", "nothing_to_do", "failed"}
        For monitoring, a compared month is ``judged``.
    text : str
        One line for people.
    """

    at: datetime
    month: str
    outcome: Outcome
    text: str


@with_retry("{0}: writing what the last check found")
def record(model: str, check: LastCheck, work: Work = "training") -> bool:
    """Keep what a check found in place of the one before; False if there is no such registered model yet.

    Raises
    ------
    TrackingError
        When the registry refuses or does not answer.
    """
    text = one_line(check.text, MOST_TEXT)
    fields = {"at": _in_utc(check.at), "month": check.month, "outcome": check.outcome, "text": text}
    try:
        mlflow_client().set_registered_model_tag(model, TAGS[work], json.dumps(fields, ensure_ascii=False))
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:
            return False
        raise
    return True


@with_retry("{0}: reading what the last check found")
def read(model: str, work: Work = "training") -> LastCheck | None:
    """What the last check of a registered model found; None if none is recorded, or the tag cannot be read.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    try:
        return of_tags(mlflow_client().get_registered_model(model).tags, work)
    except MlflowException as error:
        if error.error_code in server_facts.ABSENT:
            return None
        raise


def of_tags(tags: Mapping[str, str], work: Work = "training") -> LastCheck | None:
    """What the last check found, from the tags of a registered model; as `read`."""
    try:
        found = json.loads(tags[TAGS[work]])
        at = datetime.fromisoformat(found["at"])
        month, outcome, text = found["month"], found["outcome"], found["text"]
    except (ValueError, KeyError, TypeError, RecursionError):  # somebody changed the tag
        return None
    is_whole = at.tzinfo is not None and outcome in get_args(Outcome)
    if not (is_whole and isinstance(month, str) and isinstance(text, str)):
        return None
    return LastCheck(at.astimezone(timezone.utc), month, outcome, one_line(text) if text else "")


def _in_utc(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat(timespec="seconds")
