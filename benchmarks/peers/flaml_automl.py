"""FLAML with its defaults, scored on the validation month; its best model is fitted again on both parts.

With ``--lightgbm`` it tunes LightGBM only.
"""

from __future__ import annotations

import json

import pandas as pd
from flaml import AutoML
from rows import task

job = task(lightgbm="tune LightGBM only")
training, minutes = job.read("training")
validation, validation_minutes = job.read("validation")
common = {"task": "regression", "metric": "rmse", "n_jobs": job.threads, "seed": job.seed, "verbose": 0}
log = job.out / "trials.log"
job.out.mkdir(parents=True, exist_ok=True)
search = AutoML()
search.fit(
    training, minutes, X_val=validation, y_val=validation_minutes,
    estimator_list=["lgbm"] if job.options["lightgbm"] else "auto",
    time_budget=job.budget, log_file_name=str(log), log_type="all", **common,
)  # fmt: skip
best = AutoML()
best.fit(
    pd.concat([training, validation], ignore_index=True),
    pd.concat([minutes, validation_minutes], ignore_index=True),
    estimator_list=[search.best_estimator],
    starting_points={search.best_estimator: search.best_config},
    max_iter=1,  # no search: one fit, on all rows
    time_budget=-1,
    eval_method="holdout",
    **common,
)
trials = sum("validation_loss" in json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
job.ready(trials=trials, chosen=f"{search.best_estimator}", validation_rmse=float(search.best_loss))
job.answer(best.predict)
