"""The result of a run, as a value: callers use its fields and never parse its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mlops.pipeline import months_table
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.approvals import WAITING
from mlops.registry.versions import OUTCOME, Version

Outcome = Literal["champion", "challenger", "waiting for approval", "experiment", "nothing to do"]
EXPERIMENT: Outcome = "experiment"
NOTHING: Outcome = "nothing to do"


@dataclass(frozen=True, eq=False)
class RunResult:
    """The result of a run.

    Parameters
    ----------
    outcome : {"champion", "challenger", "waiting for approval", "experiment", "nothing to do"}
    version : Version or None
        The registered version; None for an experiment, and if there was nothing to do.
    is_repeat : bool
        Whether it is the result of an earlier run with the same run key.
    month : str
        The test month, YYYY-MM. If there was nothing to do, the month that is waited for, or empty.
    reason : str
        Reason for the outcome, for people.
    board : DataFrame
        The table that a block shows: the leaderboard, or one row with the reason why there was nothing to do.
    verdict : str
        ``promote``, ``keep`` or ``refuse``; of an experiment only what it would be. Empty if nothing was judged.
    """

    outcome: Outcome
    version: Version | None
    is_repeat: bool
    month: str
    reason: str
    board: pd.DataFrame
    verdict: str = ""

    @classmethod
    def of_version(
        cls, version: Version, board: pd.DataFrame, reason: str, *, is_repeat: bool = False
    ) -> RunResult:
        """The result of a run whose version has its final tag."""
        known: dict[str, Outcome] = {CHAMPION: CHAMPION, WAITING: WAITING}
        outcome = known.get(version.tags[OUTCOME], CHALLENGER)
        tested, verdict = (version.tags.get(name, "") for name in ("test_month", "verdict"))
        return cls(outcome, version, is_repeat, tested, reason, board, verdict)

    @classmethod
    def of_experiment(
        cls, verdict: str, reason: str, month: str, board: pd.DataFrame, *, is_repeat: bool = False
    ) -> RunResult:
        """The result of an experiment, which is never registered."""
        return cls(EXPERIMENT, None, is_repeat, month, reason, board, verdict)

    @classmethod
    def of_nothing(cls, table: pd.DataFrame) -> RunResult:
        """The result of a run with nothing to do, from the table that `months_table.nothing_to_do` made."""
        row = table.iloc[0]
        return cls(NOTHING, None, False, str(row["month"]), str(row[months_table.NOTHING_TO_DO]), table)

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to do."""
        return self.outcome == NOTHING
