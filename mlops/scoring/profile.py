"""A profile of Mage's ``io_config.yaml``: names and credentials that an address does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def given(profile: Mapping[str, Any], name: str) -> str | None:
    """A value of the profile as text; None where it is missing or empty.

    Mage writes ``None`` for an environment variable that is not set.

    Examples
    --------
    >>> given({"POSTGRES_PORT": 5432, "POSTGRES_HOST": "None"}, "POSTGRES_PORT")
    '5432'
    >>> given({"POSTGRES_PORT": 5432, "POSTGRES_HOST": "None"}, "POSTGRES_HOST")
    """
    text = str(profile.get(name) or "")
    return None if text in ("", "None") else text
