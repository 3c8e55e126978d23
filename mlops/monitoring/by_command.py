"""What `python -m mlops monitor` does: a month or a range is compared, or estimated, or the history is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlops.errors import ConfigError, MlopsError, one_line
from mlops.files import atomic_write
from mlops.monitoring import before_labels, blocks, months, printed, steps
from mlops.monitoring.asked import Asked
from mlops.monitoring.settings import MonitoringSettings
from mlops.pipeline import months_table
from mlops.registry import monitoring_history, monitoring_page, versions
from mlops.registry.monitoring_record import Record
from mlops.registry.signed_version import PREFIX

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A compared month, or the reason why there is nothing to compare.

    Parameters
    ----------
    month : str
        YYYY-MM: the compared month, or the one that is waited for.
    text : str
        For people.
    name : str
        Registered model; empty without a record.
    record : Record or None
        None if there is nothing to do.
    """

    month: str
    text: str
    name: str = ""
    record: Record | None = None

    def as_json(self) -> dict[str, Any]:
        """The same for a program: the fields of `printed.ComparedMonth`."""
        if self.record is None:
            return printed.nothing(self.month, self.text).model_dump(mode="json")
        return printed.compared(self.name, self.record).model_dump(mode="json")


def answer(asked: Asked) -> Iterator[str]:
    """Texts to print, one after the other, while the months are compared.

    Raises
    ------
    MlopsError
        As the steps. The months that were compared before it are printed first; as JSON, in a whole list.
    """
    if asked.before_labels:
        expected = before_labels.expect(asked.settings)
        yield _dumped(expected.as_json()) if asked.as_json else str(expected)
        return
    outcomes: list[Outcome] = []
    failure: MlopsError | None = None
    for month in asked.months:
        try:
            outcomes.append(compare(asked.settings.model_copy(update={"month": month})))
        except MlopsError as error:
            failure = error
            break
        if not asked.as_json:
            yield outcomes[-1].text
    if asked.as_json and outcomes:
        found = [outcome.as_json() for outcome in outcomes]
        yield _dumped(found if asked.is_range else found[0])
    if failure:
        raise failure
    if asked.report:
        write_history(asked.report, asked.settings)


def compare(settings: MonitoringSettings) -> Outcome:
    """Compare one month in the three steps of the pipeline.

    Raises
    ------
    MlopsError
        As the steps.
    """
    found = steps.load_month(settings)
    blocks.check_months(found)
    found = steps.compare_month(found, settings)
    blocks.check_comparison(found)
    found = steps.react_and_report(found, settings)
    blocks.check_record(found)
    return _outcome(found)


def _outcome(table: pd.DataFrame) -> Outcome:
    first = table.iloc[0]
    record = blocks.record_of(table)
    if record is None:
        return Outcome(str(first["month"]), f"nothing to do: {first[months_table.NOTHING_TO_DO]}")
    return Outcome(record.month, f"{first['title']}\n{first['text']}", str(first["model"]), record)


def write_history(target: Path, settings: MonitoringSettings) -> None:
    """Write the page with the compared months of all models of the registry.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    ConfigError
        When the file cannot be written.
    """
    months.connect(settings)
    names = sorted(name for name in versions.model_names() if name.startswith(PREFIX))
    page = monitoring_page.page(monitoring_history.collect(names))
    try:
        with atomic_write(target.absolute()) as passing:
            passing.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--report: expected a file that this user may write; got {target}: {one_line(error)}"
        ) from error
    logger.info("%s: the history of %s", target, ", ".join(names) or "no model: none is registered")


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
