"""Second half of a run, after the verdict: register, verify, promote. Repeating a stage changes nothing.

The caller holds the lock on the model's aliases, so that no other process moves one between the verdict and the
promotion.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops.errors import MlopsError
from mlops.evaluation import metrics, model_card, plots
from mlops.evaluation.comparison import WITHOUT_DISTANCE
from mlops.locks import Lock
from mlops.pipeline import leaderboard, rule_texts
from mlops.pipeline.fit_stage import Attempt, Fitted
from mlops.pipeline.judge_stage import IMPORTANCE, PLOTS_FOLDER, Judged
from mlops.pipeline.run_result import RunResult
from mlops.registry import (
    alias_log,
    approvals,
    artifact,
    client,
    descriptions,
    model_months,
    verification,
    versions,
)
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.verification import Verification
from mlops.registry.versions import OUTCOME, Version

# Values for a verification that failed before it predicted anything.
NOT_MEASURED = {"rows": 0, "one_by_one": 0, "largest_difference": 0.0}
logger = logging.getLogger(__name__)


def register(attempt: Attempt, fitted: Fitted, judged: Judged, lock: Lock) -> Version:
    """The version of this run, which becomes challenger; a new one unless an earlier attempt registered it."""
    run, key = attempt.run, attempt.checkpoint.key
    tags, description = _tags(attempt, judged), _description(attempt, judged)
    version = versions.find(attempt.name, key)
    if version is None or version.run_id != run.run_id:
        example = judged.tested.requests.head(3)
        metadata = {"cleaning_rules": [asdict(rule) for rule in attempt.rules]} if attempt.rules else None
        logged = artifact.log_model(run.run_id, run.experiment_id, fitted.artefact, example, metadata)
        lock.check()
        tags |= {"artefact_sha256": verification.digest(fitted.artefact)}
        version = versions.register(attempt.name, logged, run.run_id, key, tags, description)
    else:
        version = versions.tag(version, tags)
        versions.describe(version, description)
    newest = alias_log.current(attempt.name, CHALLENGER)
    if int(newest or 0) < int(version.number):
        _move(attempt, CHALLENGER, version, judged, "newly registered")
    versions.remove_unfinished(version)  # after the move, so that the journal says what replaced them
    return version


def verify(attempt: Attempt, version: Version) -> Verification:
    """Whether the registry serves the model that was tested."""
    (test,) = attempt.months[attempt.months["role"] == "test"].to_dict("records")
    scratch = attempt.checkpoint.scratch
    expected = verification.Expected(
        scratch / "sample.parquet",
        scratch / "tested.npy",
        # The fresh process does not know rules of the run's own, so it gets the trips that they left.
        Path(test["raw"] if test["usual_rules"] else test["path"]),
        attempt.settings.service,
        attempt.settings.month,
        is_clean=not test["usual_rules"],
    )
    found = verification.verify(version, expected, scratch / "proof")
    attempt.run.log_text("proof.json", json.dumps(found.as_dict(), indent=1))
    return found


def promote(
    attempt: Attempt, fitted: Fitted, judged: Judged, version: Version, verified: Verification, lock: Lock
) -> RunResult:
    """Move the alias if verdict, verification and settings allow it, log the card, and set the final tags."""
    outcome, waits = _decide(attempt, judged, version, verified)
    if outcome == CHAMPION and alias_log.current(attempt.name, CHAMPION) != version.number:
        lock.check()
        _move(attempt, CHAMPION, version, judged, judged.verdict.reason)
    if not verified.passed:
        logger.error("%s stays challenger: %s", version.uri, verified.reason)
    if waits:
        logger.warning("%s is %s: %s. %s", version.uri, outcome, waits, approvals.how_to_approve(version))
    log_card(attempt, judged, version, verified, waits=waits)
    reason = judged.verdict.reason if verified.passed else f"verification failed: {verified.reason}"
    board = leaderboard.leaderboard(
        version,
        f"{_in_words(outcome, judged, waits)}: {reason}; {versions.link(version)}",
        judged.metrics,
        judged.record.evidence,
        fitted.best,
        fitted.trials,
    )
    attempt.run.log_table("leaderboard.csv", board)
    waiting = approvals.tag_of(version, waits) if waits else {}
    tags = {"proof": verified.as_tag(), **waiting, OUTCOME: outcome}
    version = versions.tag(version, tags)
    descriptions.refresh(attempt.name)
    _show_in_lists(attempt, judged, version, verified)
    return RunResult.of_version(version, board, reason)


def _decide(attempt: Attempt, judged: Judged, version: Version, verified: Verification) -> tuple[str, str]:
    """Outcome of the run, and why a person must approve it before the alias moves; empty if nobody must."""
    if not (judged.verdict.promote and verified.passed):
        return CHALLENGER, ""
    if alias_log.current(attempt.name, CHAMPION) == version.number:  # an earlier attempt moved it
        return CHAMPION, ""
    settings = attempt.settings
    waits = approvals.why_wait(settings.require_approval, judged.verdict.measured, settings.min_improvement)
    return (approvals.WAITING, waits) if waits else (CHAMPION, "")


def _show_in_lists(attempt: Attempt, judged: Judged, version: Version, verified: Verification) -> None:
    """Name the run by its result, and add its month to the model's curves; the next run adds a missing one."""
    try:
        with client.without_retry():
            attempt.run.rename(run_name(attempt, judged, version, verified))
            curves = model_months.write(attempt.name)
        logger.info("errors of %s by test month: %s", attempt.name, curves)
    except MlopsError as error:  # the result itself is complete
        logger.warning("MLflow's lists do not show the result of %s: %s", version.uri, error)


def run_name(attempt: Attempt, judged: Judged, version: Version, verified: Verification) -> str:
    """Name of a finished run: "2023-06 promoted: green v3, RMSE 4.33". Lists show only its first 18 characters."""
    became = {
        CHAMPION: "promoted",
        approvals.WAITING: "waits for approval",
        CHALLENGER: "refused" if judged.verdict.outcome == "refuse" else "not promoted",
    }[version.tags[OUTCOME]]
    word = became if verified.passed else "not verified"
    settings, rmse = attempt.settings, judged.metrics["test_rmse"]
    return f"{settings.month} {word}: {settings.service} v{version.number}, RMSE {rmse:.2f}"


def _in_words(outcome: str, judged: Judged, waits: str) -> str:
    if waits:
        return f"{outcome} ({waits})"
    return outcome if outcome == CHAMPION else f"{outcome} (verdict: {judged.verdict.outcome})"


def _move(attempt: Attempt, alias: str, version: Version, judged: Judged, reason: str) -> None:
    by = f"run {attempt.run.run_id} by {alias_log.whoami()}"
    verdict = judged.verdict.outcome
    alias_log.move(attempt.name, alias, version.number, by=by, verdict=verdict, reason=reason)


def log_card(
    attempt: Attempt,
    judged: Judged,
    version: Version | None = None,
    verified: Verification | None = None,
    difference: Sequence[str] = (),
    waits: str = "",
) -> None:
    """Log the model card of a verified version, or of an experiment with what differs from the champion's run."""
    measured, tested, scratch = judged.verdict.measured, judged.tested, attempt.checkpoint.scratch
    gain = [measured[name] for name in ("gain_minutes", "gain_low", "gain_high") if name in measured]
    card = model_card.Card(
        name=attempt.name,
        version=version.number if version else None,
        settings=attempt.settings.describe(),
        origin={**attempt.origin, "run_id": attempt.run.run_id},
        measured=judged.metrics,
        outcome=judged.verdict.outcome,
        reasons=judged.verdict.reasons,
        contenders=_contenders(judged, version),
        gain=(gain[0], gain[1], gain[2]) if len(gain) == 3 else None,
        by_slice=judged.by_slice,
        ranges=_ranges(judged, version),
        without_distance=judged.without_distance,
        importance=pd.read_csv(scratch / IMPORTANCE),
        months=attempt.months,
        rules={str(rule): "" if rule.is_usual else rule.source or "# not found" for rule in attempt.rules},
        verification=_verification(verified) if verified else None,
        plots=plots.drawn_in(scratch / PLOTS_FOLDER),
        half_within=float(np.median(np.abs(tested.minutes - tested.actual))),
        waits=waits,
        experiment=attempt.settings.experiment or "",
        experiment_note=attempt.settings.experiment_note,
        difference=difference,
    )
    attempt.run.log_card(model_card.markdown(card), model_card.page(card))


def _verification(verified: Verification) -> dict[str, Any]:
    return {**NOT_MEASURED, **verified.measured, "passed": verified.passed, "reason": verified.reason}


def _contenders(judged: Judged, version: Version | None) -> pd.DataFrame:
    """All models that were scored on the test month, with the 95 % interval of their RMSE."""
    evidence = judged.record.evidence
    rows = [
        (named, evidence.rmse(name), *evidence.rmse_interval(name))
        for name, named in _names(judged, version).items()
        if name in evidence.days
    ]
    return pd.DataFrame(rows, columns=["contender", "rmse", "low", "high"])


def _ranges(judged: Judged, version: Version | None) -> pd.DataFrame:
    """Interval score, coverage and width of all that gave ranges for the test month."""
    evidence, names = judged.record.evidence, _names(judged, version)
    names |= {"pair_median": "past trips", WITHOUT_DISTANCE: f"{names['challenger']}, no distance given"}
    measures = ("interval_score", "coverage", "width")
    rows = [
        (level, named, *(evidence.interval_mean(name, f"{each}_{level}") for each in measures))
        for level in metrics.LEVELS
        for name, named in names.items()
    ]
    return pd.DataFrame(rows, columns=["level", "contender", *measures]).dropna(ignore_index=True)


def _names(judged: Judged, version: Version | None) -> dict[str, str]:
    """What the card calls each contender."""
    champion = judged.record.evidence.champion
    return {
        "challenger": f"version {version.number}" if version else "this experiment",
        "champion": f"champion (version {champion.version})" if champion else "",
        "pair_median": "pair median",
        "course": "course's recipe",
    }


def _tags(attempt: Attempt, judged: Judged) -> dict[str, str]:
    """Tags of a version in the registry."""
    learnt = attempt.months.loc[attempt.months["role"] != "test", "month"]
    origin = attempt.origin
    return {
        "test_month": attempt.settings.month,
        "first_month_learnt": learnt.min(),
        "last_month_learnt": learnt.max(),
        "test_rmse": f"{judged.metrics['test_rmse']:.6f}",
        "verdict": judged.verdict.outcome,
        "reason": judged.verdict.reason,
        "attempt": origin["attempt"],
        **({"forced": "true"} if origin["forced"] == "true" else {}),
        **({"own_rules": rule_texts.in_words(attempt.rules)} if attempt.rules else {}),
        **({"asked_by": attempt.asked_by} if attempt.asked_by else {}),
    }


def _description(attempt: Attempt, judged: Judged) -> str:
    """One-line description of a version for the registry's pages."""
    tags, measured = _tags(attempt, judged), judged.metrics
    return (
        f"test RMSE {measured['test_rmse']:.4f} min on {measured['test_rows']:,} trips "
        f"of {attempt.settings.month} (pair median {measured['test_rmse_pair_median']:.4f}); "
        f"trained on {tags['first_month_learnt']} to {tags['last_month_learnt']}"
    )
