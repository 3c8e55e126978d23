"""The summary of a scoring run as text."""

from __future__ import annotations

import pandas as pd


def as_text(summary: pd.DataFrame) -> str:
    """The table from `score.score` for a terminal."""
    return str(summary.to_string(index=False))
