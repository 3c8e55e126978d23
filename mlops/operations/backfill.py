"""A range of months, trained one after the other; what is judged is skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from mlops.config import NEXT, Settings
from mlops.errors import MonthNotPublishedError
from mlops.month import Month
from mlops.pipeline import months_table
from mlops.pipeline.steps import train


def backfill(settings: Settings, first: Month, last: Month) -> Iterator[pd.DataFrame]:
    """Leaderboards of the months from first to last, trained in their order; what is judged is skipped.

    Raises
    ------
    MonthNotPublishedError
        When one of them is not there, after those before it are done.
    MlopsError
        As `train`; the same again goes on from there.
    """
    settings = Settings.parse(
        settings.model_dump() | {"month": NEXT, "start_month": str(first), "end_month": str(last)}
    )
    while True:
        board = train(settings)
        if not months_table.is_nothing(board):
            yield board
        elif board["month"].iloc[0]:
            month, reason = board["month"].iloc[0], board[months_table.NOTHING_TO_DO].iloc[0]
            raise MonthNotPublishedError(f"{reason}.", service=settings.service, month=month)
        else:
            return
