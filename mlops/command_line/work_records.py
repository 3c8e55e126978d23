"""What commands that work print as JSON: runs, findings of the doctor, and leftovers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import pandas as pd

    from mlops.operations.doctor.checkup import Finding
    from mlops.pipeline.run_result import RunResult


class Record(BaseModel):
    """A value that cannot change."""

    model_config = ConfigDict(frozen=True)


class TrainedMonth(Record):
    """The result of one run."""

    outcome: Literal["champion", "challenger", "waiting for approval", "experiment", "nothing to do"] = Field(
        description="What became of the model."
    )
    model: str | None = Field(description="Registered model; null if nothing was registered.")
    version: str | None = Field(description="Number of the version; null if nothing was registered.")
    is_repeat: bool = Field(
        description="Whether an earlier run with the same run key had this result already."
    )
    month: str | None = Field(
        description="Test month, YYYY-MM. If there was nothing to do, the month that is waited for, or null."
    )
    verdict: Literal["promote", "keep", "refuse"] | None = Field(
        description="The decision about the model; null if nothing was judged."
    )
    reason: str = Field(description="Why, for people.")
    test_rmse_minutes: float | None = Field(
        description="Root mean squared error on the test month; null if nothing was tested."
    )

    @classmethod
    def of(cls, result: RunResult) -> TrainedMonth:
        """The record of a run's result."""
        return cls(
            outcome=result.outcome,
            model=result.version.name if result.version else None,
            version=result.version.number if result.version else None,
            is_repeat=result.is_repeat,
            month=result.month or None,
            verdict=result.verdict or None,
            reason=result.reason,
            test_rmse_minutes=_number(result.board["test_rmse"].iloc[0])
            if "test_rmse" in result.board
            else None,
        )


class DoctorFinding(Record):
    """One finding of a check-up."""

    label: Literal["OPEN", "ok", "not checked"] = Field(
        description="OPEN: a person must act. ok: it was looked at, and is right. not checked: nobody knows."
    )
    text: str = Field(description="What was found; if it is not right or not checked, why, and what to do.")

    @classmethod
    def of(cls, finding: Finding) -> DoctorFinding:
        """The record of a finding."""
        return cls.model_validate({"label": finding.label, "text": finding.text})


class Leftover(Record):
    """Something old that can be made again."""

    kind: str = Field(description="What it is, such as a cached month.")
    place: str = Field(description="Path of the file or folder, or id of the run.")
    days: float = Field(description="Days since its last use.")
    megabytes: float = Field(description="Its size, in millions of bytes.")


class LeftoversOfKind(Record):
    """All leftovers of one kind."""

    kind: str = Field(description="What they are.")
    found: int = Field(description="How many were found.")
    deleted: int = Field(description="How many were deleted; 0 in a dry run.")
    megabytes: float = Field(description="Size of those that were deleted, in millions of bytes.")
    oldest_days: float = Field(description="Days since the last use of the oldest one.")


class Tidied(Record):
    """What `tidy` found and deleted."""

    is_dry_run: bool = Field(description="Whether it only listed.")
    keep_days: int = Field(description="Days without use from which something was found.")
    leftovers: tuple[Leftover, ...] = Field(description="Everything that was found, largest first.")
    kinds: tuple[LeftoversOfKind, ...] = Field(description="The same, counted by kind.")

    @classmethod
    def of(cls, found: pd.DataFrame, summary: pd.DataFrame, limits: Mapping[str, Any]) -> Tidied:
        """The record of a cleanup, from its tables and its settings."""
        return cls(
            is_dry_run=limits["dry_run"],
            keep_days=limits["keep_days"],
            leftovers=tuple(Leftover.model_validate(row) for row in _rows(found)),
            kinds=tuple(LeftoversOfKind.model_validate(row) for row in _rows(summary)),
        )


def _rows(table: pd.DataFrame) -> Sequence[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(float(value)) else None
