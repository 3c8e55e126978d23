"""What a run would do and its rough cost, as a value: for a dry run, which fetches and writes nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mlops.config import Settings
from mlops.data import ingest, sources
from mlops.errors import ConfigError

SECONDS_PER_BYTE_AND_FIT = 0.9e-6  # measured on green months with two cores; only the order of magnitude


class PlannedFile(BaseModel):
    """One month that a run would read."""

    model_config = ConfigDict(frozen=True)

    role: str = Field(description="What the run does with the month: training, validation or test.")
    month: str = Field(description="The month, YYYY-MM.")
    name: str = Field(description="Name of its file at the source.")
    bytes: int | None = Field(description="Size of the file; null where the source does not say it.")


class RunPlan(BaseModel):
    """What a run would do."""

    model_config = ConfigDict(frozen=True)

    service: str = Field(description="Taxi service.")
    source: str = Field(description="Where the months come from, without credentials.")
    test_month: str = Field(description="The month on which the model would be tested, YYYY-MM.")
    files: tuple[PlannedFile, ...] = Field(description="The months that would be read, oldest first.")
    bytes: int = Field(description="Size of all files whose size is known.")
    trials: int = Field(description="Most trials on the lowest rung of the search.")
    minutes: int = Field(
        description="Very rough duration on two cores, minutes; 0 is less than half a minute."
    )


def plan(settings: Settings) -> RunPlan:
    """What a run would do; the source is asked, and nothing is fetched or written.

    Raises
    ------
    ConfigError
        When the test month is `next`, which only the registry knows.
    """
    if settings.is_next:
        raise ConfigError("month: expected YYYY-MM for a dry run, which does not read the registry; got next")
    source = ingest.open_source(settings)
    split = ingest.plan_months(settings, source)
    names = {month: sources.file_name(settings.service, month) for month in split.months}
    files = tuple(
        PlannedFile(role=split.role(month), month=str(month), name=name, bytes=source.size(name))
        for month, name in names.items()
    )
    total = sum(file.bytes or 0 for file in files)
    fits = settings.max_trials / 3 + 2  # each rung costs about as much as full fits of a ninth of the trials
    return RunPlan(
        service=settings.service,
        source=source.url,
        test_month=str(split.test),
        files=files,
        bytes=total,
        trials=settings.max_trials,
        minutes=round(total * SECONDS_PER_BYTE_AND_FIT * fits / 60),
    )


def as_text(planned: RunPlan) -> str:
    """The plan for a terminal: a line for each file, then the cost."""
    lines = [f"{planned.service} from {planned.source}, tested on {planned.test_month}:"]
    unknown = "generated on demand" if planned.source == "sample" else "size unknown"
    for file in planned.files:
        shown = unknown if file.bytes is None else f"{file.bytes / 1e6:8.2f} MB"
        lines.append(f"  {file.role:<10}  {file.name}  {shown}")
    size = f", {planned.bytes / 1e6:.1f} MB" if planned.bytes else ""
    about = f"very roughly {planned.minutes} min" if planned.minutes else "less than a minute"
    trials = f"at most {planned.trials} trials, and the best of them again on more trips"
    lines.append(f"{len(planned.files)} files{size}; {trials}: {about} on two cores")
    return "\n".join(lines)
