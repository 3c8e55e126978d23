"""The coverage that the ranges of a fit are calibrated to, from the coverage of earlier months.

Ranges are calibrated on the validation month and tested on the month after it. Where errors grow from month to
month, they cover less than they promise, every month again. So each tested month moves the aim of the next fit:
by a part of the difference between the promised and the measured coverage.

Source: I. Gibbs, E. Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlops.errors import ConfigError

PARAMETERS = {"coverage_80": "coverage_aim_80", "coverage_95": "coverage_aim_95"}
"""Names of the coverages, and of a run's parameters that record the aims."""


@dataclass(frozen=True)
class Aim:
    """Share of the validation month's trips that the ranges are calibrated to contain.

    The defaults are above 0.8 and 0.95, because months drift, and coverage drops a little in the next month.

    Parameters
    ----------
    coverage_80, coverage_95 : float
        For the 80 % and the 95 % range; above 0, below 1, and the first below the second.

    Raises
    ------
    ConfigError
        When the two are not such shares.

    Examples
    --------
    >>> [round(level, 5) for level in Aim().levels]
    [0.0975, 0.9025, 0.02375, 0.97625]
    """

    coverage_80: float = 0.805
    coverage_95: float = 0.9525

    def __post_init__(self) -> None:
        if not 0 < self.coverage_80 < self.coverage_95 < 1:
            raise ConfigError(
                "coverage aim: expected two shares above 0 and below 1, that of the 80 % range below that of the "
                f"95 % range; got {self.coverage_80} and {self.coverage_95}"
            )

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Aim:
        """The aim among a run's parameters; the default if there is none, as in runs before 2026-12.

        Raises
        ------
        ConfigError
            When it is no number, or not an aim.
        """
        found = {name: parameters[own] for name, own in PARAMETERS.items() if own in parameters}
        try:
            return cls(**{name: float(text) for name, text in found.items()})
        except ValueError as error:
            raise ConfigError(f"coverage aim: expected numbers; got {', '.join(found.values())}") from error

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a run that record it, for `parse`."""
        return {own: str(getattr(self, name)) for name, own in PARAMETERS.items()}

    @property
    def levels(self) -> tuple[float, float, float, float]:
        """Levels of the quantiles that bound the ranges, in the order of `INTERVAL_COLUMNS`."""
        tail_80, tail_95 = (1 - self.coverage_80) / 2, (1 - self.coverage_95) / 2
        return tail_80, 1 - tail_80, tail_95, 1 - tail_95


PROMISED, LEAST, MOST = Aim(0.8, 0.95), Aim(), Aim(0.9, 0.985)
"""What the ranges promise, and the bounds of an aim.

An aim is never below the default: where ranges were narrowed after months that covered more than promised, the
next poor month was poorer. The upper bound suits normal errors that are a quarter larger than in the month before,
so a broken month does not make the ranges useless.
"""
STEP = 0.25
"""Part of the difference by which a month moves the aim.

If errors grow by 8 % each month, coverage is within two points of what is promised from the third month on. A
larger step follows more of what is only noise of one month, and the interval score gets worse.
"""


@dataclass(frozen=True)
class Covered:
    """Share of a test month's trips inside their ranges, and what the ranges were calibrated to.

    Parameters
    ----------
    month : str
        YYYY-MM.
    coverage_80, coverage_95 : float
        Measured on the test month; from 0 to 1.
    aim : Aim

    Raises
    ------
    ConfigError
        When a coverage is not a share.
    """

    month: str
    coverage_80: float
    coverage_95: float
    aim: Aim = Aim()

    def __post_init__(self) -> None:
        for name in PARAMETERS:
            if not 0 <= getattr(self, name) <= 1:  # NaN too
                raise ConfigError(f"{name} of {self.month}: expected 0 to 1; got {getattr(self, name)}")


def next_aim(months: Iterable[Covered]) -> Aim:
    """The aim of the next fit; the default without earlier months.

    With the aim ``used + promised - measured``, a month would have covered about what was promised. The next aim
    moves from the default towards this value of each month, by `STEP` of the difference. This is adaptive
    conformal inference if each month used the aim that followed from the months before it. If months used another
    one, for example because they were trained before there was any, their differences do not add up.

    Parameters
    ----------
    months : iterable of Covered
        Earlier test months, oldest first. A month that is missing moves nothing.

    Examples
    --------
    >>> september = Covered("2023-09", 0.775, 0.9375)
    >>> next_aim([september])
    Aim(coverage_80=0.8113, coverage_95=0.9556)
    """
    aims = {name: getattr(Aim(), name) for name in PARAMETERS}
    for month in months:
        for name, aim in aims.items():
            promised, least, most = (getattr(bound, name) for bound in (PROMISED, LEAST, MOST))
            needed = getattr(month.aim, name) + promised - getattr(month, name)
            aims[name] = max(least, aim + STEP * (min(needed, most) - aim))
    return Aim(**{name: round(aim, 4) for name, aim in aims.items()})
