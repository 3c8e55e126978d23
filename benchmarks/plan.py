"""What one run of the benchmark covers: its months and its profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlops.month import Month

TEST_MONTHS = tuple(str(month) for month in Month.range(Month(2023, 7), Month(2023, 10)))
SHORT_HISTORY = 3  # training months in the comparison on identical rows
DEFAULT_SEED = 42  # of a default run
APART = ("2023-09",)
"""Test months whose coverage has no goal: September's trips took 0.8 minutes longer than August's, on which the
ranges were calibrated. No other month of 2023 is so different from the month before."""

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
    contender_runs : tuple of (int, int)
        Test month, counted back from the latest (-1), and seed of each comparison of all contenders.
    range_seeds : tuple of int
        Seeds with which the ranges are compared, in each test month.
    budgets : tuple of int
        Seconds of tuning for our library, shortest first.
    course_budget : int
        Seconds of tuning for the course's recipe.
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
    load_seconds : int
        Seconds of each measurement of a service under load.
    scored_rows : int
        Trips of the largest file to score.
    """

    name: str
    test_months: int
    contender_runs: tuple[tuple[int, int], ...]
    range_seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    course_budget: int
    peer_budgets: tuple[int, ...]
    copies: tuple[int, ...]
    most_rows: int
    single_rows: int
    runs: int
    load_seconds: int
    scored_rows: int


QUICK = Profile(
    "quick", test_months=1, contender_runs=((-1, 1),), range_seeds=(DEFAULT_SEED,), budgets=(20,),
    course_budget=60, peer_budgets=(60,), copies=(4, 12), most_rows=0, single_rows=300, runs=1,
    load_seconds=2, scored_rows=1_000_000,
)  # fmt: skip
# Each seed has another month, so that three runs have both sources of variation.
FULL = Profile(
    "full", test_months=4, contender_runs=((-4, 1), (-3, 2), (-1, 3)), range_seeds=(DEFAULT_SEED, 1),
    budgets=(60,), course_budget=180, peer_budgets=(60, 180), copies=(10, 50), most_rows=43_000_000,
    single_rows=2000, runs=3, load_seconds=7, scored_rows=20_000_000,
)  # fmt: skip
# Every seed with every month.
EXHAUSTIVE = replace(
    FULL,
    name="exhaustive",
    budgets=(60, 180),
    contender_runs=tuple((month, seed) for seed in (1, 2, 3) for month in (-4, -3, -2, -1)),
)
PROFILES = {profile.name: profile for profile in (QUICK, FULL, EXHAUSTIVE)}


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

    @property
    def contender_runs(self) -> tuple[tuple[str, int], ...]:
        """Test month and seed of each comparison of all contenders; the last is on the latest test month."""
        count = len(self.test_months)
        return tuple(
            (self.test_months[place], seed) for place, seed in self.profile.contender_runs if -place <= count
        )

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
