"""Calendar months: the unit of TLC's files, of training windows and of test sets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from mlops.errors import ConfigError

_PATTERN = re.compile(r"(\d{4})-(\d{2})")


class MonthError(ConfigError):
    """A text or a pair of numbers is not a month.

    Attributes
    ----------
    problem : str
        What is wrong, without the name of the setting and the value.
    """

    def __init__(self, problem: str, got: object = ...) -> None:
        super().__init__(f"month: {problem}" + ("" if got is ... else f"; got {got!r}"))
        self.problem = problem


@dataclass(frozen=True, order=True)
class Month:
    """One calendar month, ordered in time.

    Parameters
    ----------
    year : int
        1 to 9998.
    number : int
        1 (January) to 12 (December).

    Raises
    ------
    ConfigError
        When there is no such month.

    Examples
    --------
    >>> Month.parse("2023-12") + 1
    Month('2024-01')
    >>> Month(2023, 1) < Month(2023, 2)
    True
    """

    year: int
    number: int

    def __post_init__(self) -> None:
        if not (1 <= self.number <= 12 and 1 <= self.year <= 9998):
            raise MonthError(
                f"there is no month {self.year:04d}-{self.number:02d}; "
                "write YYYY-MM with MM from 01 to 12, for example 2023-10"
            )

    @classmethod
    def parse(cls, text: str) -> Month:
        """Month written as ``YYYY-MM``.

        Raises
        ------
        ConfigError
            When the text is anything else.

        Examples
        --------
        >>> Month.parse("2023-10")
        Month('2023-10')
        """
        found = _PATTERN.fullmatch(str(text).strip())
        if not found:
            raise MonthError("expected YYYY-MM, for example 2023-10", text)
        return cls(int(found[1]), int(found[2]))

    @property
    def start(self) -> datetime:
        """First moment of the month, New York's wall clock, no time zone (as in TLC's files)."""
        return datetime(self.year, self.number, 1)

    @property
    def end(self) -> datetime:
        """First moment after the month."""
        return datetime(self.year + self.number // 12, self.number % 12 + 1, 1)  # also valid for 9998-12

    def before(self, count: int) -> tuple[Month, ...]:
        """The `count` months before this one, oldest first.

        Examples
        --------
        >>> Month(2023, 2).before(3)
        (Month('2022-11'), Month('2022-12'), Month('2023-01'))
        """
        return tuple(self - back for back in range(count, 0, -1))

    @staticmethod
    def range(first: Month, last: Month) -> tuple[Month, ...]:
        """All months from `first` to `last`, both included; empty when `last` is earlier.

        Examples
        --------
        >>> [str(month) for month in Month.range(Month(2023, 11), Month(2024, 1))]
        ['2023-11', '2023-12', '2024-01']
        """
        return tuple(first + step for step in range(last._ordinal - first._ordinal + 1))

    @property
    def _ordinal(self) -> int:
        return self.year * 12 + self.number - 1

    def __add__(self, months: int) -> Month:
        year, number = divmod(self._ordinal + months, 12)
        return Month(year, number + 1)

    def __sub__(self, months: int) -> Month:
        return self + -months

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    def __repr__(self) -> str:
        return f"Month('{self}')"
