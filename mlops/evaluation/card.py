"""`Card`: the content of a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Card:
    """The content of a card.

    Parameters
    ----------
    name : str
        The registered model.
    version : str or None
        Number of the version; None before it is registered.
    settings, origin : mapping of str to str
        The settings as `Settings.describe` returns them, and what identifies the run (``run_key``, ``run_id``,
        ``git_commit``, ``code_sha256``, ...).
    measured : mapping of str to float
        ``test_rows``, those of `card_tables.METRICS` that were measured, and ``test_without_distance_rmse`` and
        ``..._mae`` if the model uses the distance.
    outcome, reasons : str, sequence of str
        ``promote``, ``keep`` or ``refuse``, and every reason for it.
    contenders : DataFrame
        ``contender`` (a name), and ``rmse``, ``low``, ``high``: RMSE and its 95 % interval in minutes.
    gain : tuple of three floats or None
        The champion's RMSE minus the challenger's, and the ends of its 95 % interval, all in minutes.
    by_slice : DataFrame
        As `metrics.slices` returns it.
    ranges : DataFrame
        ``level`` (80 or 95), ``contender`` (a name), ``interval_score``, ``coverage``, ``width``.
    without_distance : DataFrame or None
        As `by_slice`, for requests without a distance; None if the model uses no distance.
    importance : DataFrame
        As `Explanation.features`.
    months : DataFrame
        The months table (`pipeline.months_table`).
    verification : mapping or None
        ``passed``, ``reason``, ``rows``, ``one_by_one``, ``largest_difference`` (minutes); None before it is done.
    plots : sequence of Path
        SVG or PNG files, for the page.
    rules : mapping of str to str
        All cleaning rules of the run in order, in words, each with its source if it is not one of the project's;
        empty if the run had the project's rules.
    half_within : float or None
        Minutes: half of the test month's trips are predicted with at most this error; None if it is not known.
    waits : str
        Why the version waits for a person's approval; empty if it does not.
    experiment, experiment_note : str
        Name of an experiment, which is never registered, and what it tries; empty for a version.
    difference : sequence of str
        What an experiment does differently from the champion's run, one line for each difference.
    """

    name: str
    version: str | None
    settings: Mapping[str, str]
    origin: Mapping[str, str]
    measured: Mapping[str, float]
    outcome: str
    reasons: Sequence[str]
    contenders: pd.DataFrame
    gain: tuple[float, float, float] | None
    by_slice: pd.DataFrame
    ranges: pd.DataFrame
    without_distance: pd.DataFrame | None
    importance: pd.DataFrame
    months: pd.DataFrame
    verification: Mapping[str, Any] | None = None
    plots: Sequence[Path] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    half_within: float | None = None
    waits: str = ""
    experiment: str = ""
    experiment_note: str = ""
    difference: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Model name, version or experiment, test month, and whether its trips are synthetic."""
        version = f", version {self.version}" if self.version else ""
        version = f", experiment {self.experiment}" if self.experiment else version
        trips = "synthetic trips of " if self.is_synthetic else ""
        return f"{self.name}{version}, tested on {trips}{self.settings['month']}"

    @property
    def is_synthetic(self) -> bool:
        """Whether a month is of the synthetic city; its file says so, whatever the source is."""
        return bool(self.months["sample"].any())
