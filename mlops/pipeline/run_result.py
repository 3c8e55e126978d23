"""The result of a run, as a value: callers use its fields and never parse its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mlops.pipeline import months_table
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.approvals import WAITING
from mlops.registry.versions import OUTCOME, Version

Outcome = Literal["champion", "challenger", "waiting for approval", "nothing to do"]
NOTHING: Outcome = "nothing to do"


@dataclass(frozen=True, eq=False)
class RunResult:
    """The result of a run.

    Parameters
    ----------
    outcome : {"champion", "challenger", "waiting for approval", "nothing to do"}
    version : Version or None
        The registered version; None if there was nothing to do.
    is_repeat : bool
        Whether an earlier run with the same run key registered the version.
    month : str
        The test month, YYYY-MM. If there was nothing to do, the month that is waited for, or empty.
    reason : str
        Reason for the outcome, for people.
    board : DataFrame
        The table that a block shows: the leaderboard, or one row with the reason why there was nothing to do.
    """

    outcome: Outcome
    version: Version | None
    is_repeat: bool
    month: str
    reason: str
    board: pd.DataFrame

    @classmethod
    def of_version(
        cls, version: Version, board: pd.DataFrame, reason: str, *, is_repeat: bool = False
    ) -> RunResult:
        """The result of a run whose version has its final tag."""
        known: dict[str, Outcome] = {CHAMPION: CHAMPION, WAITING: WAITING}
        outcome = known.get(version.tags[OUTCOME], CHALLENGER)
        return cls(outcome, version, is_repeat, version.tags.get("test_month", ""), reason, board)

    @classmethod
    def of_nothing(cls, table: pd.DataFrame) -> RunResult:
        """The result of a run with nothing to do, from the table that `months_table.nothing_to_do` made."""
        row = table.iloc[0]
        return cls(NOTHING, None, False, str(row["month"]), str(row[months_table.NOTHING_TO_DO]), table)

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to do."""
        return self.outcome == NOTHING
