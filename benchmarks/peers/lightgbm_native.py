"""LightGBM with default parameters: native categories, early stopping on the validation month.

With ``--refit`` it is fitted again on training and validation months, with the number of rounds found.
"""

from __future__ import annotations

import lightgbm as lgb
import pandas as pd
from rows import task

ROUNDS, EARLY_STOPPING_ROUNDS = 5000, 50

job = task(refit="fit again on training and validation months")
training, minutes = job.read("training")
validation, validation_minutes = job.read("validation")
parameters = {
    "objective": "regression", "metric": "rmse", "num_threads": job.threads, "seed": job.seed, "verbosity": -1,
}  # fmt: skip
matrix = lgb.Dataset(training, minutes)
booster = lgb.train(
    parameters,
    matrix,
    ROUNDS,
    valid_sets=[lgb.Dataset(validation, validation_minutes, reference=matrix)],
    callbacks=[lgb.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)],
)
rounds = booster.best_iteration
if job.options["refit"]:
    everything = lgb.Dataset(pd.concat([training, validation]), pd.concat([minutes, validation_minutes]))
    booster = lgb.train(parameters, everything, rounds)
job.ready(trials=1, chosen=f"{rounds} rounds")
job.answer(lambda requests: booster.predict(requests, num_iteration=rounds))
