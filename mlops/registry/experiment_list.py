"""Experiments as records, for `python -m mlops experiments`."""

from __future__ import annotations

from mlops.registry import experiments, listings
from mlops.registry.experiments import Tried
from mlops.registry.listed_parts import finite
from mlops.registry.records import TriedExperiment


def list_all(model: str = "") -> tuple[TriedExperiment, ...]:
    """All runs of all experiments, of one model or of all, newest first.

    Raises
    ------
    TrackingError
        When the server does not answer.
    """
    return tuple(map(record_of, experiments.list_all(model)))


def record_of(tried: Tried) -> TriedExperiment:
    """A run of an experiment as a record."""
    return TriedExperiment(
        name=tried.name,
        model=tried.model,
        note=tried.note,
        status=tried.status,
        at=tried.at,
        test_month=tried.month or None,
        rmse_minutes=finite(tried.rmse),
        champion=None if tried.champion in (experiments.NONE, "") else tried.champion,
        champion_rmse_minutes=finite(tried.champion_rmse),
        verdict=(tried.verdict or None) if tried.is_judged else None,
        reason=tried.reason,
        differs=tried.differs,
        run_id=tried.run_id,
        page=listings.page(tried.page),
    )
