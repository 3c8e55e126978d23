"""AutoGluon's tabular predictor, scored on the validation month; its best model is fitted again on both parts."""

from __future__ import annotations

import logging

from autogluon.tabular import TabularPredictor
from rows import TARGET, task

job = task()
logging.getLogger("autogluon").setLevel(logging.WARNING)
training, minutes = job.read("training")
validation, validation_minutes = job.read("validation")
predictor = TabularPredictor(
    label=TARGET, eval_metric="root_mean_squared_error", path=str(job.out / "autogluon"), verbosity=1
)
predictor.fit(
    training.assign(**{TARGET: minutes}),
    tuning_data=validation.assign(**{TARGET: validation_minutes}),
    time_limit=job.budget,
    num_cpus=job.threads,
    refit_full="best",
    set_best_to_refit_full="best",
)
board = predictor.leaderboard(silent=True)
job.ready(trials=len(board), chosen=str(predictor.model_best))
job.answer(predictor.predict)
