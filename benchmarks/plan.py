"""What one run of the benchmark covers: its months and its profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops.month import Month

TEST_MONTHS = tuple(str(month) for month in Month.range(Month(2023, 7), Month(2023, 10)))
SHORT_HISTORY = 3  # training months in the comparison on identical rows

OURS = ("mlops/**/*.py", "benchmarks/ours.py", "requirements.txt")
"""Code that our figures depend on."""
RAW = ("mlops/files.py", "mlops/data/**/*.py")
"""Code that makes the clean trips for all contenders."""


@dataclass(frozen=True)
class Profile:
    """How thoroughly to measure.

    Parameters
    ----------
    name : str
    test_months : int
        Number of test months, counted back from the latest.
    contender_months : int
        Number of them on which all contenders are compared.
    seeds : tuple of int
        Fixed seeds of every contender that has one.
    budgets : tuple of int
        Seconds of tuning for our library and the course, shortest first.
    peer_budgets : tuple of int
        Seconds for AutoML; the last is at least three times our first.
    copies : tuple of int
        Numbers of copies of the months, to measure growth.
    most_rows : int
        Trips of the largest matrix; 0 for none.
    single_rows : int
        Number of single requests.
    runs : int
        Number of pipeline runs, to measure Mage's overhead.
    """

    name: str
    test_months: int
    contender_months: int
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    peer_budgets: tuple[int, ...]
    copies: tuple[int, ...]
    most_rows: int
    single_rows: int
    runs: int


QUICK = Profile("quick", 2, 1, (1,), (20, 60), (20, 60), (4, 12), 0, 300, 1)
FULL = Profile("full", 4, 4, (1, 2, 3), (60, 180), (60, 180), (10, 50), 43_000_000, 2000, 3)
PROFILES = {profile.name: profile for profile in (QUICK, FULL)}


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark.

    Parameters
    ----------
    profile : Profile
    source : str
        Like the setting `source`.
    service : str
    months : tuple of str
        All months of the source, oldest first, without a gap.
    test_months : tuple of str
        The tested months, oldest first.
    """

    profile: Profile
    source: str
    service: str
    months: tuple[str, ...]
    test_months: tuple[str, ...]

    @property
    def is_sample(self) -> bool:
        """Whether the trips are synthetic."""
        return self.source == "sample"

    def history(self, test: str) -> tuple[str, ...]:
        """All months before the validation month."""
        return self.months[: self.months.index(test) - 1]

    def validation(self, test: str) -> str:
        """The month before the test month."""
        return self.months[self.months.index(test) - 1]

    def short_history(self, test: str) -> tuple[str, ...]:
        """The last `SHORT_HISTORY` months before the validation month."""
        return self.history(test)[-SHORT_HISTORY:]


def bench_of(profile: Profile, source: str, held: Sequence[str], asked: Sequence[str] = ()) -> Bench:
    """The benchmark run for the months of a source.

    Parameters
    ----------
    held : sequence of str
        Months of the source, oldest first.
    asked : sequence of str
        Test months instead of the default ones.

    Raises
    ------
    ValueError
        When a test month, or a month that it needs, is missing.
    """
    last = max(asked) if asked else (TEST_MONTHS[-1] if TEST_MONTHS[-1] in held else held[-1])
    if last not in held:
        raise ValueError(f"{source}: there is no month {last}; available: {', '.join(held)}")
    months = [last]
    while (before := str(Month.parse(months[0]) - 1)) in held:
        months.insert(0, before)
    usual = TEST_MONTHS if set(TEST_MONTHS) <= set(months[2:]) else tuple(months[2:])
    tested = tuple(sorted(asked)) if asked else usual[-profile.test_months :]
    missing = [month for month in tested if month not in months[2:]]
    if missing or not tested:
        raise ValueError(
            f"{source}: {', '.join(missing) or last} cannot be tested: it needs the two months before it. "
            f"Available without a gap: {months[0]} to {months[-1]}"
        )
    return Bench(profile, source, "green", tuple(months), tested)
