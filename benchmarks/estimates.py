"""How good the error is that monitoring expects before durations are known: `python -m benchmarks.estimates`.

For each month, a model that was tested on the month before answers the month's trips. The estimate sees the trips
without their durations; the truth is its RMSE. Beside it is the naive estimate, the RMSE of the month before.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import ours
from mlops import config, progress
from mlops.data import trips
from mlops.monitoring import estimates, sums
from mlops.monitoring.estimates import Estimate
from mlops.monitoring.months import Prepared
from mlops.month import Month

MONTHS = (
    *(f"green {month}" for month in Month.range(Month(2023, 5), Month(2023, 10))),
    "yellow 2018-10",
    "yellow 2019-02",
)
MOST_MONTHS = 6  # for training and validation
TRIALS = 2
HEADER = f"{'month':16}{'truth':>8}{'estimate':>10}{'widths':>8}{'cells':>8}{'month before':>14}"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """RMSE of a model on a month, minutes: the truth, what was expected, and that of the month before."""

    service: str
    month: Month
    truth: float
    expected: Estimate
    before: float

    def __str__(self) -> str:
        expected = self.expected
        numbers = (self.truth, expected.rmse, expected.from_widths, expected.from_cells, self.before)
        shown = (f"{value:{width}.3f}" for value, width in zip(numbers, (8, 10, 8, 8, 14), strict=True))
        return f"{self.service + ' ' + str(self.month):16}{''.join(shown)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each month, and the mean absolute differences; exit status 0."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(handlers=[progress.to_stderr()], level=logging.WARNING)
    logger.setLevel(logging.INFO)
    sys.stdout.write(f"{HEADER}\n")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for service, month in (text.split() for text in options.months.split(",")):
            found.append(measure(options.source, service, Month.parse(month), Path(folder)))
            sys.stdout.write(f"{found[-1]}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{summary(found)}\n")
    return 0


def summary(found: Sequence[Measured]) -> str:
    """Mean absolute differences from the truth, minutes: of the estimate, of its parts, of the naive one."""
    truth = np.array([month.truth for month in found])

    def difference(values: Iterable[float]) -> str:
        return f"{np.abs(np.array(list(values)) - truth).mean():.3f}"

    return (
        f"mean absolute difference in {len(found)} months, minutes: "
        f"estimate {difference(month.expected.rmse for month in found)} "
        f"(widths alone {difference(month.expected.from_widths for month in found)}, "
        f"cells alone {difference(month.expected.from_cells for month in found)}); "
        f"the same as in the month before {difference(month.before for month in found)}"
    )


def measure(source: str, service: str, month: Month, folder: Path) -> Measured:
    """One month, with a model that learnt from at most `MOST_MONTHS` months and was tested on the month before."""
    held = [Month.parse(text) for text in _held(source, service, month)]
    *learnt, tested = [_prepared(source, service, each, folder) for each in held]
    now = _prepared(source, service, month, folder)
    logger.info("%s %s: fitting on %d months", service, month, len(learnt))
    chosen = ours.settings(max_trials=TRIALS, train_months=len(learnt), warm_start=False)
    fitted = ours.fit(
        [each.clean for each in learnt], folder / f"{service}-{month}", config.threads(), chosen
    )
    before, after = (_sums(fitted, each, folder) for each in (tested, now))
    expected = estimates.estimate(before, after.drop(columns="champion_squared"))
    return Measured(service, month, _rmse(after), expected, _rmse(before))


def _held(source: str, service: str, month: Month) -> list[str]:
    """Months before `month` that the source has, oldest first."""
    return ours.months_held(source, service, str(month - MOST_MONTHS - 1), str(month - 1))


def _prepared(source: str, service: str, month: Month, folder: Path) -> Prepared:
    raw, sha256 = ours.fetch(source, service, str(month), folder / "months")
    clean = folder / "clean" / f"{service}_{month}.parquet"
    quality = trips.clean_file(raw, service, month, clean)
    return Prepared(month, raw, clean, sha256, raw.name, quality)


def _sums(fitted: ours.Fitted, prepared: Prepared, folder: Path) -> pd.DataFrame:
    requests, _ = ours.requests_and_minutes(prepared.clean)
    answered = fitted.model.predict(requests).astype(np.float32)
    path = folder / "answers.parquet"
    pq.write_table(pa.Table.from_pandas(answered, preserve_index=False), path)
    return sums.sum_up(prepared, {sums.CHAMPION: path})


def _rmse(found: pd.DataFrame) -> float:
    return float(np.sqrt(found["champion_squared"].sum() / found["trips"].sum()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimates", description=__doc__)
    parser.add_argument("--source", required=True, help="Folder or URL with TLC's months.")
    parser.add_argument("--months", default=",".join(MONTHS), help="Services and months, as %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
