"""What is kept of a compared month: small, JSON, read by the history page, the service and later months."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlops.monitoring.faults import Finding


@dataclass(frozen=True)
class Record:
    """A compared month. Errors are in minutes; NaN where there is nothing.

    Parameters
    ----------
    month : str
        YYYY-MM.
    champion, predecessor : str
        Numbers of the versions; `predecessor` is empty if there is none.
    promised_month : str
        The champion's test month.
    trips : int
    measured : dict of str to float
        ``rmse``, ``rmse_low``, ``rmse_high``, ``mae``, ``bias``, ``coverage_80``, ``coverage_95``,
        ``interval_score_80``, ``interval_score_95`` of the champion; ``rmse_predecessor``, ``rmse_baseline``;
        ``rmse_promised`` (on its test month), ``change``, ``change_mix``, ``change_within`` (RMSE, minutes; the
        last two add up to the first), ``change_within_low``, ``change_within_high``; ``gain_predecessor``,
        ``gain_predecessor_low``, ``gain_predecessor_high`` (champion's RMSE minus predecessor's);
        ``rmse_estimated`` (before labels), ``drift_largest``, ...
    alarm : bool
    causes : tuple of str
        Most important first.
    findings : tuple of Finding
    slices : tuple of (str, float, float)
        Where the error at constant mix changed most: cell in words, minutes, share of trips.
    action : str
        ``none``, ``alert``, ``retrain``, ``rollback``.
    done : str
        What was done, as a sentence.
    at : str
        When it was compared, UTC, ISO 8601.
    run_id : str
        MLflow's run that has the report.
    """

    month: str
    champion: str
    predecessor: str
    promised_month: str
    trips: int
    measured: dict[str, float]
    alarm: bool
    causes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    slices: tuple[tuple[str, float, float], ...] = ()
    action: str = "none"
    done: str = ""
    at: str = ""
    run_id: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)
