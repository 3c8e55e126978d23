"""What each command prints with `--json`: the one list of all of them, for the reference page and for tests.

A command that gets the option `--json` is added here. Its record is a frozen pydantic model with a description for
each field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from mlops.command_line import work_records
from mlops.data import run_plan
from mlops.monitoring import printed
from mlops.registry import records, status_records
from mlops.serving.one_ride import RideEstimate

RECORDS: Mapping[str, Any] = {
    "show": list[records.ModelSummary],
    "show MODEL": records.ChampionDetails,
    "registry": records.ModelListing,
    "registry --as-of DATE": records.ChampionsOfDay,
    "experiments": list[records.TriedExperiment],
    "predict": RideEstimate,
    "train": work_records.TrainedMonth,
    "train --dry-run": run_plan.RunPlan,
    "backfill": list[work_records.TrainedMonth],
    "doctor": list[work_records.DoctorFinding],
    "tidy": work_records.Tidied,
    "monitor": printed.ComparedMonth,
    "monitor --from MONTH --to MONTH": list[printed.ComparedMonth],
    "monitor --before-labels": printed.ExpectedMonth,
    "status": status_records.Status,
}
"""By the command: the type of the object that is printed, or ``list[...]`` of it. Several entries of one command
are for its options or arguments that change what is printed."""


def item_of(printed: Any) -> type[BaseModel]:
    """The record of an entry: itself, or that of its list.

    Examples
    --------
    >>> item_of(RECORDS["show"]).__name__, item_of(RECORDS["registry"]).__name__
    ('ModelSummary', 'ModelListing')
    """
    found: type[BaseModel] = printed.__args__[0] if is_list(printed) else printed
    return found


def is_list(printed: Any) -> bool:
    """Whether an entry is printed as a list."""
    return getattr(printed, "__origin__", None) is list
