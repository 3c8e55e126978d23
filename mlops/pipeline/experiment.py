"""An experiment: a run that is tested and compared like any other, and never registered."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

import pandas as pd

from mlops.config import Settings
from mlops.errors import TrackingDownError, TrackingError, command
from mlops.pipeline import (
    checkpoint,
    difference,
    fit_stage,
    judge_stage,
    leaderboard,
    release_stage,
    run_once,
)
from mlops.pipeline.checkpoint import STORE, Checkpoint
from mlops.pipeline.difference import Difference
from mlops.pipeline.fit_stage import Attempt, Fitted
from mlops.pipeline.judge_stage import Judged
from mlops.pipeline.run_result import RunResult
from mlops.registry import experiments, run_lifecycle, runs, server_facts, versions
from mlops.registry.experiments import Tried

LEADERBOARD = "leaderboard.csv"  # artefact of a run
NOT_REGISTERED = "nothing was registered"
logger = logging.getLogger(__name__)


def run(name: str, key: str, settings: Settings, months: pd.DataFrame) -> RunResult:
    """The result of an experiment; that of an earlier run if key and champion are the same, unless `force`.

    It has a lock of its own: a run of the model goes on beside it.

    Parameters
    ----------
    name, key : str
        The registered model that it is compared with, and the run key.
    settings : Settings
        With the name of the experiment.
    months : DataFrame
        As `steps.build_features` describes them.

    Raises
    ------
    BusyError
        When another run of this experiment is at work and the settings say not to wait.
    MlopsError
        When a stage fails. Finished trials are kept for the next attempt after an interruption or an outage.
    """
    place = place_of(name, settings)
    with run_lifecycle.work_lock(place, settings.on_busy, f"experiment {settings.experiment}"):
        if known := _known(name, key, settings):
            Checkpoint.of(place, key).remove()  # of an attempt that ended between its verdict and this line
            return known
        versions.require_signed_champion(name)
        kept = run_once.kept_of(place, key, settings)
        return run_once.finish(kept, months, lambda: _try(kept, name, settings, months))


def find_result(name: str, key: str, settings: Settings) -> RunResult | None:
    """The result of an earlier run of the same key that was compared with today's champion; None with `force`.

    Also None if an attempt left a checkpoint: `run` removes it, or continues it.
    """
    if key in {kept.key for kept in checkpoint.unfinished(place_of(name, settings))}:
        return None
    return _known(name, key, settings)


def _known(name: str, key: str, settings: Settings) -> RunResult | None:
    if settings.force:
        return None
    tried = experiments.find(place_of(name, settings), key, versions.champion(name))
    if tried is None:
        return None
    logger.info("experiment %s was already run: nothing to do; set force to run it again", tried.name)
    board = _board(tried)
    first, *others = board["about"]
    board = board.assign(about=[f"already run as {first}", *others])
    _log_way_on(tried.page)
    return RunResult.of_experiment(tried.verdict, tried.reason, tried.month, board, is_repeat=True)


def place_of(name: str, settings: Settings) -> str:
    """Where the settings' experiment is kept: its name in MLflow, and of its lock and checkpoints."""
    return experiments.place_of(name, settings.experiment or "")


def _try(kept: Checkpoint, name: str, settings: Settings, months: pd.DataFrame) -> RunResult:
    """The stages of a run up to the verdict; after it, the report, and no stage that registers."""
    own, place = fit_stage.origin_of(kept, settings)["attempt"], place_of(name, settings)
    title = run_once.title(settings)
    with run_lifecycle.start_run(place, title, kept.key, own, forced=settings.force) as started:
        experiments.describe(started.experiment_id, settings.experiment_note)
        started.set_tags(experiments.named(settings.experiment or "", settings.experiment_note))
        attempt = Attempt(started, kept, name, settings, months)
        kept.note(STORE, server_facts.identity(place))
        fit_stage.log_origin(attempt)
        fitted = fit_stage.fit(attempt)
        fit_stage.log_search(attempt, fitted)
        versions.require_signed_champion(name)  # the alias may have moved meanwhile
        tested = judge_stage.test(attempt, fitted)
        judged = judge_stage.decide(attempt, tested, judge_stage.compare(attempt, tested))
        judge_stage.log_report(attempt, judged)
        return _report(attempt, fitted, judged)


def _report(attempt: Attempt, fitted: Fitted, judged: Judged) -> RunResult:
    """Log the difference from the champion, the card, the leaderboard and, at last, the tags of the verdict."""
    started, verdict, named = attempt.run, judged.verdict, attempt.settings.experiment
    incumbent = judged.record.evidence.champion
    champion = versions.get(attempt.name, incumbent.version) if incumbent else None
    different = difference.from_champion(attempt, judged.tested.model.features, champion)
    _log_difference(attempt, different)
    release_stage.log_card(attempt, judged, difference=different.lines)
    board = leaderboard.of_experiment(
        f"experiment {named}",
        attempt.name,
        f"experiment {named!r}: {verdict.outcome}: {verdict.reason}; {NOT_REGISTERED}",
        judged.metrics,
        judged.record.evidence,
        fitted.best,
        fitted.trials,
    )
    started.log_table(LEADERBOARD, board)
    rmse = judged.metrics["test_rmse"]
    started.rename(f"{attempt.settings.month} {verdict.outcome}: {named}, RMSE {rmse:.2f}")
    tags = experiments.verdict_tags(verdict.outcome, verdict.reason, different.in_words)
    started.set_tags({**experiments.tags_of(champion), **tags})
    _log_way_on(experiments.page_of(started.experiment_id, started.run_id))
    return RunResult.of_experiment(verdict.outcome, verdict.reason, attempt.settings.month, board)


def _log_difference(attempt: Attempt, different: Difference) -> None:
    """Log what differs from the champion's run: to the log, and as artefacts."""
    against = different.champion or "no champion"
    logger.info(
        "experiment %s, compared with %s: %s", attempt.settings.experiment, against, different.in_words
    )
    for note in different.notes:
        logger.info("note: %s", note)
    attempt.run.log_text("difference.md", different.markdown())
    attempt.run.log_text("difference.json", json.dumps(different.as_record(), indent=1))
    if different.code:
        attempt.run.log_text("code.diff", different.code)


def _log_way_on(page: str) -> None:
    """Log where to look, and how to make it real."""
    logger.info("look at its run, its card and what differs: %s", server_facts.shown_at(page))
    logger.info("all experiments: %s", command("experiments"))
    logger.info(
        "%s. To make it real, run it again with the same settings and code, and experiment set to nothing "
        "(leave out --experiment)", NOT_REGISTERED.capitalize(),
    )  # fmt: skip


def _board(tried: Tried) -> pd.DataFrame:
    """The leaderboard that a run logged; without it, what its tags say."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return leaderboard.read(runs.fetch_artefact(tried.run_id, LEADERBOARD, Path(folder)))
    except TrackingDownError:
        raise
    except TrackingError as error:
        logger.warning("%s. Only its verdict is shown", error)
        about = f"{tried.verdict}: {tried.reason}"
        return leaderboard.of_tags(f"experiment {tried.name}", tried.model, about, tried.rmse)
