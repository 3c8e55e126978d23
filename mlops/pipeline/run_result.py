"""What became of a run, as a value: what every caller works with, and none reads its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mlops.pipeline import months_table
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.versions import OUTCOME, Version

Outcome = Literal["champion", "challenger", "nothing to do"]
NOTHING: Outcome = "nothing to do"


@dataclass(frozen=True, eq=False)
class RunResult:
    """What became of a run.

    Parameters
    ----------
    outcome : {"champion", "challenger", "nothing to do"}
    version : Version or None
        The registered version; None where there was nothing to do.
    is_repeat : bool
        Whether this very run had registered its version before.
    month : str
        YYYY-MM: the test month; where there was nothing to do, the month that is waited for, or nothing.
    reason : str
        Why, for people.
    board : DataFrame
        The leaderboard, or the one row that says why there was nothing to do: what a block shows.
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
        """The result of a run whose version carries its last tag."""
        outcome: Outcome = CHAMPION if version.tags[OUTCOME] == CHAMPION else CHALLENGER
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
