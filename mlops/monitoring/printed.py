"""What `monitor --json` prints, as records. A number that is not known is null."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mlops.registry.monitoring_record import Record, finite

Number = Annotated[float | None, BeforeValidator(finite)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MonthFinding(_Record):
    """One thing that is unusual about a month's trips."""

    cause: str = Field(description="Its name, as in the causes.")
    text: str = Field(description="What, where and how much, as a sentence.")
    share: Number = Field(description="Share of the month's trips that it concerns, 0 to 1.")
    is_fault: bool = Field(description="Whether the data are wrong, so that somebody must act.")
    strength: Number = Field(description="How far above its threshold; 1 is at the threshold.")


class ComparedMonth(_Record):
    """A month compared with what its champion had promised, or why there is nothing to compare."""

    month: str = Field(description="YYYY-MM: the compared month, or the one that is waited for.")
    model: str | None = Field(description="Registered model; null if there is nothing to do.")
    champion_version: str | None = Field(
        description="Version that was champion; null if there is nothing to do."
    )
    predecessor_version: str | None = Field(description="Champion before it; null if there was none.")
    rmse: Number = Field(description="Root mean squared error of the champion, minutes.")
    alarm: bool = Field(description="Whether the month needs attention.")
    causes: tuple[str, ...] = Field(description="Names of causes, the most important first.")
    action: str = Field(description="none, alert, retrain or rollback.")
    done: str | None = Field(description="What was done, as a sentence.")
    promised_month: str | None = Field(description="Test month of the champion, YYYY-MM.")
    trips: int | None = Field(description="Trips that were compared.")
    measured: dict[str, Number] = Field(description="All numbers by name: errors and changes, minutes.")
    findings: tuple[MonthFinding, ...] = Field(description="What is unusual about the trips.")
    slices: tuple[tuple[str, Number, Number], ...] = Field(
        description="Where the error changed most: cell in words, minutes, share of trips."
    )
    at: str | None = Field(description="When it was compared, UTC, ISO 8601.")
    run_id: str | None = Field(description="Run of MLflow that has the report.")
    notes: tuple[str, ...] = Field(description="What limits the comparison, a sentence each.")
    nothing_to_do: str | None = Field(
        description="Why there is no month to compare; null if one was compared."
    )


class TrackRecordOfEstimates(_Record):
    """How far earlier estimates were from the truth."""

    months: int = Field(description="Months with an estimate and the truth.")
    mean_absolute_difference: Number = Field(description="Of the estimates from the truth, minutes.")
    same_as_month_before: Number = Field(description='The same for "as in the month before", minutes.')


class MovedColumn(_Record):
    """How far one column of the requests is from the months before."""

    feature: str = Field(description="The column.")
    psi: Number = Field(description="Population stability index.")
    threshold: Number = Field(description="From here on it is more than the spread among the months before.")
    is_large: bool = Field(description="Whether it is at or above the threshold.")


class ExpectedMonth(_Record):
    """The error to expect of a month whose durations are not published."""

    month: str = Field(description="YYYY-MM.")
    model: str = Field(description="Registered model.")
    champion_version: str = Field(description="The champion.")
    rmse_estimated: Number = Field(description="Error to expect, minutes.")
    rmse_from_widths: Number = Field(description="The same from the widths of its ranges alone.")
    rmse_from_cells: Number = Field(description="The same from the mix of rides alone.")
    promised_month: str = Field(description="Test month of the champion, YYYY-MM.")
    rmse_promised: Number = Field(description="Its error on that month, minutes.")
    requests: int = Field(description="Requests of the month in the service's log.")
    track_record: TrackRecordOfEstimates = Field(description="How good earlier estimates were.")
    drift: tuple[MovedColumn, ...] = Field(description="How far the requests moved, the furthest first.")


def compared(model: str, record: Record) -> ComparedMonth:
    """A compared month as it is printed."""
    same = asdict(record)
    champion, predecessor = same.pop("champion"), same.pop("predecessor")
    return ComparedMonth(
        model=model,
        champion_version=champion,
        predecessor_version=predecessor or None,
        rmse=record.value("rmse"),
        nothing_to_do=None,
        **same,
    )


def nothing(month: str, why: str) -> ComparedMonth:
    """What is printed where there is no month to compare."""
    return ComparedMonth(
        month=month,
        model=None,
        champion_version=None,
        predecessor_version=None,
        rmse=None,
        alarm=False,
        causes=(),
        action="none",
        done=None,
        promised_month=None,
        trips=None,
        measured={},
        findings=(),
        slices=(),
        at=None,
        run_id=None,
        notes=(),
        nothing_to_do=why,
    )
