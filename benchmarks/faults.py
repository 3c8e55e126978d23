"""Faults put into months on purpose: which are found and named, and which months without a fault are suspected.

Run it with ``python -m benchmarks.faults --source FOLDER``; it writes ``faults.md``.
"""

from __future__ import annotations

import argparse
import logging
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from benchmarks import faulty_months
from benchmarks.machine import machine, packages
from mlops import progress
from mlops.config import PROJECT
from mlops.data.sources import file_name
from mlops.data.trips import clean_file
from mlops.monitoring import faults, samples
from mlops.monitoring.faults import Finding
from mlops.monitoring.months import Prepared
from mlops.monitoring.samples import Sample
from mlops.month import Month

logger = logging.getLogger(__name__)

RESULTS = PROJECT / "benchmarks" / "results" / "faults.md"
MONTHS_BEFORE, FEWEST_BEFORE = 6, 4
FILE = re.compile(r"(green|yellow)_tripdata_(\d{4}-\d{2})\.parquet")
NAMED, FOUND, MISSED = "yes", "as another", "**no**"


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its function in `faulty_months`, the cause that must be named, three strengths."""

    name: str
    cause: str
    strengths: tuple[float, ...]

    @property
    def meaning(self) -> str:
        """What the strength means, from the function's docstring."""
        return (getattr(faulty_months, self.name).__doc__ or "").splitlines()[0].rstrip(".")


LISTED = (
    Kind("kilometres", "unit_of_distance", (1, 0.3, 0.1)), Kind("clock", "clock_shift", (1, 0.3, 0.1)),
    Kind("new_zone", "new_zone", (0.03, 0.01, 0.003)), Kind("missing", "missing_trips", (0.5, 0.3, 0.2)),
    Kind("twice", "duplicated_trips", (1, 0.3, 0.1)), Kind("no_weekends", "missing_trips", (1, 0.5, 0.3)),
    Kind("slow_airports", "slower_rides", (0.3, 0.2, 0.1)),
    Kind("swapped_zones", "swapped_zones", (1, 0.3, 0.1)),
)  # fmt: skip
"""The kinds that were asked for."""
OTHERS = (
    Kind("utc", "clock_shift", (1, 0.3, 0.1)), Kind("no_afternoon", "clock_shift", (1, 0.3, 0.1)),
    Kind("whole_minutes", "rounded_times", (1, 0.3, 0.1)), Kind("repeated_day", "repeated_day", (5, 2, 1)),
    Kind("one_passenger", "constant_values", (1, 0.5, 0.3)),
    Kind("no_passengers", "missing_values", (1, 0.3, 0.1)),
    Kind("zero_distance", "zero_distances", (1, 0.3, 0.1)),
    Kind("whole_miles", "rounded_distances", (1, 0.3, 0.1)),
    Kind("capped", "capped_durations", (20, 30, 45)), Kind("ends_first", "negative_durations", (1, 0.3, 0.1)),
    Kind("no_vendor", "missing_trips", (1, 0.7, 0.5)), Kind("no_zone", "missing_trips", (1, 0.7, 0.5)),
    Kind("no_nights", "missing_trips", (1, 0.5, 0.3)), Kind("no_days", "missing_trips", (5, 2, 1)),
    Kind("renumbered", "renumbered_zones", (1, 0.3, 0.1)), Kind("swapped_days", "swapped_days", (1, 0.5, 0.3)),
    Kind("other_year", "outside_month", (0.9, 0.3, 0.1)), Kind("slow_everywhere", "slower_rides", (0.4, 0.3, 0.2)),
    Kind("stale", "stale_copy", (1, 2, 3)), Kind("shuffled_distances", "mismatched_distances", (1, 0.3, 0.1)),
    Kind("shuffled_durations", "mismatched_durations", (1, 0.5, 0.3)),
)  # fmt: skip
"""Kinds that came to mind beside them."""


@dataclass(frozen=True)
class Case:
    """A month with a fault, and what was found in it."""

    kind: Kind
    strength: float
    service: str
    month: Month
    found: tuple[Finding, ...]

    @property
    def causes(self) -> tuple[str, ...]:
        """Causes of what is wrong, and the slow or fast rides, in order."""
        return tuple(dict.fromkeys(each.cause for each in self.found))

    @property
    def result(self) -> str:
        """Whether the first cause is the expected one, another one, or there is none."""
        if not self.causes:
            return MISSED
        return NAMED if self.causes[0] == self.kind.cause else FOUND


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; the command ends with 2 if the folder has too few months."""
    logging.basicConfig(handlers=[progress.to_stderr()], level=logging.INFO)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder with TLC's months")
    parser.add_argument(
        "--with-fault", nargs="*", default=["green 2023-08", "green 2023-10", "yellow 2018-11"]
    )
    options = parser.parse_args(arguments)
    months = available(options.source)
    if not any(len(found) > FEWEST_BEFORE for found in months.values()):
        parser.error(
            f"{options.source}: expected files as green_tripdata_2023-08.parquet of at least "
            f"{FEWEST_BEFORE + 1} months; got {months}"
        )
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.source, Path(folder), months)
        clean = list(bench.without_fault())
        chosen = [(service, Month.parse(month)) for service, month in map(str.split, options.with_fault)]
        cases = [case for service, month in chosen for case in bench.with_fault(service, month)]
    RESULTS.write_text(report(clean, cases, time.time() - began), encoding="utf-8")
    return 0


def available(folder: Path) -> dict[str, list[Month]]:
    """Months of each service in a folder."""
    found: dict[str, list[Month]] = {}
    for path in sorted(folder.iterdir()):
        matched = FILE.fullmatch(path.name)
        if matched:
            found.setdefault(matched[1], []).append(Month.parse(matched[2]))
    return found


@dataclass(frozen=True)
class Bench:
    """Where the months are, and where the files with faults are written."""

    source: Path
    folder: Path
    months: dict[str, list[Month]]
    taken: dict[tuple[str, Month], Sample] = field(default_factory=dict)

    def without_fault(self) -> Iterator[tuple[str, Month, tuple[Finding, ...]]]:
        """Service, month and findings of each month that has enough months before it."""
        for service, months in self.months.items():
            for month in months:
                if len(self._before(service, month)) >= FEWEST_BEFORE:
                    logger.info("%s %s", service, month)
                    found = faults.find_in(self._real(service, month), self._before(service, month))
                    yield service, month, found

    def with_fault(self, service: str, month: Month) -> Iterator[Case]:
        """Findings in a month with each fault at each strength."""
        before = self._before(service, month)
        for kind in (*LISTED, *OTHERS):
            for strength in kind.strengths:
                logger.info("%s %s: %s %s", service, month, kind.name, strength)
                raw = self.folder / "faulty.parquet"
                getattr(faulty_months, kind.name)(self._raw(service, month), month, strength, raw)
                found = faults.find_in(self._sample(raw, service, month), before)
                yield Case(kind, strength, service, month, found)

    def _raw(self, service: str, month: Month) -> Path:
        return self.source / file_name(service, month)

    def _real(self, service: str, month: Month) -> Sample:
        if (service, month) not in self.taken:
            self.taken[service, month] = self._sample(self._raw(service, month), service, month)
        return self.taken[service, month]

    def _before(self, service: str, month: Month) -> list[Sample]:
        known = [each for each in month.before(MONTHS_BEFORE) if each in self.months.get(service, [])]
        return [self._real(service, each) for each in known]

    def _sample(self, raw: Path, service: str, month: Month) -> Sample:
        clean = self.folder / f"clean_{raw.name}"
        quality = clean_file(raw, service, month, clean)
        return samples.take(Prepared(month, raw, clean, "", raw.name, quality))


def report(
    clean: Sequence[tuple[str, Month, tuple[Finding, ...]]], cases: Sequence[Case], seconds: float
) -> str:
    """The report as Markdown."""
    about = {
        "machine": machine(),
        "packages": packages(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "duration": f"{seconds / 60:.1f} minutes",
    }
    head = [f"- {name}: {value}" for name, value in about.items()]
    asked = [case for case in cases if case.kind in LISTED]
    other = [case for case in cases if case.kind not in LISTED]
    return "\n".join(
        [
            "# Faults put into months on purpose", "", *head, "", *_summary(clean, asked, other), "",
            "## Kinds that were asked for", "", *_expected(asked), "", "## More kinds", "", *_expected(other), "",
            "## Months without a fault", "", *_clean(clean), "",
        ]
    )  # fmt: skip


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _summary(
    clean: Sequence[tuple[str, Month, tuple[Finding, ...]]], asked: Sequence[Case], other: Sequence[Case]
) -> list[str]:
    alarms = sum(any(each.is_fault for each in found) for _, _, found in clean)
    rows = [["months without a fault that are called faulty", "0", f"{alarms} of {len(clean)}"]]
    for name, cases in (("kinds that were asked for", asked), ("more kinds", other)):
        strongest = [case for case in cases if case.strength == case.kind.strengths[0]]
        for label, part in (("largest strength", strongest), ("all strengths", cases)):
            named = sum(case.result == NAMED for case in part)
            rows.append([f"{name}, {label}: found and named", "all", f"{named} of {len(part)}"])
    return _table(("what", "goal", "figure"), rows)


def _expected(cases: Sequence[Case]) -> list[str]:
    """One row for each kind and month: what was found first at each strength, and the smallest that is named."""
    rows: dict[tuple[Kind, str], list[Case]] = {}
    for case in sorted(cases, key=lambda case: (*LISTED, *OTHERS).index(case.kind)):
        rows.setdefault((case.kind, f"{case.service} {case.month}"), []).append(case)
    header = ("fault", "month", "expected", "largest", "middle", "smallest", "smallest that is named")
    return _table(
        header, [(kind.meaning, month, kind.cause, *_row(each)) for (kind, month), each in rows.items()]
    )


def _row(cases: Sequence[Case]) -> list[str]:
    shown = [f"{case.strength:g}: {', '.join(case.causes) or '**nothing**'}" for case in cases]
    named = [f"{case.strength:g}" for case in cases if case.result == NAMED]
    return [*shown, named[-1] if named else MISSED]


def _clean(clean: Sequence[tuple[str, Month, tuple[Finding, ...]]]) -> list[str]:
    rows = [
        (
            f"{service} {month}", "**yes**" if any(each.is_fault for each in found) else "no",
            "; ".join(f"{each.cause}: {each.text}" for each in found),
        )
        for service, month, found in clean
    ]  # fmt: skip
    return _table(("month", "called faulty", "found"), rows)


if __name__ == "__main__":
    raise SystemExit(main())
