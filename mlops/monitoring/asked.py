"""What a command line of `python -m mlops monitor` asks for, checked before slow modules are imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.errors import ConfigError
from mlops.monitoring.settings import MonitoringSettings
from mlops.month import Month


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Parameters
    ----------
    settings : MonitoringSettings
    months : tuple of str
        Months to compare, oldest first: one, perhaps ``next``, or those of a range; none for the history alone.
    is_range : bool
    as_json, before_labels : bool
    report : Path or None
        File for the history page.
    """

    settings: MonitoringSettings
    months: tuple[str, ...]
    is_range: bool = False
    as_json: bool = False
    before_labels: bool = False
    report: Path | None = None

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Asked:
        """What is asked for, from the options by their names.

        Raises
        ------
        ConfigError
            When a setting is wrong, or two options contradict each other.

        Examples
        --------
        >>> Asked.parse({"first": "2023-07", "last": "2023-08"}).months
        ('2023-07', '2023-08')
        """
        month, first, last = (options.get(name) for name in ("month", "first", "last"))
        names = [name for name in MonitoringSettings.model_fields if name in options and name != "month"]
        given = {name: options[name] for name in names} | ({"month": month} if month else {})
        settings = MonitoringSettings.parse(given)
        report, before_labels = options.get("report"), bool(options.get("before_labels"))
        _require_possible(month, first, last, before_labels, report)
        alone = () if report and not month else (settings.month,)
        months = _range(first, last) if first and last else alone
        return cls(settings, months, bool(first), bool(options.get("json")), before_labels, report)


def _require_possible(
    month: str | None, first: str | None, last: str | None, before_labels: bool, report: Path | None
) -> None:
    if bool(first) != bool(last):
        raise ConfigError(f"{'--to' if first else '--from'}: missing; a range needs --from and --to")
    if first and month:
        raise ConfigError(f"--month: expected no month beside --from and --to; got {month}")
    if before_labels and (first or report):
        raise ConfigError(f"--before-labels: expected one --month; got {'--from' if first else '--report'}")
    if report and report.is_dir():
        raise ConfigError(f"--report: expected the name of a file to write; got the folder {report}")


def _range(first: str, last: str) -> tuple[str, ...]:
    ends = Month.parse(first), Month.parse(last)
    if ends[1] < ends[0]:
        raise ConfigError(f"--to: expected {ends[0]} or a later month; got {ends[1]}")
    return tuple(map(str, Month.range(*ends)))
