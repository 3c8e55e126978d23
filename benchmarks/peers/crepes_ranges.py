"""crepes: normalised, Mondrian conformal regression around our model's predictions.

LightGBM learns the size of the errors on one half of the validation month; crepes calibrates on the other half, in
ten groups by predicted minutes.
"""

from __future__ import annotations

import numpy as np
from crepes import ConformalRegressor
from crepes.extras import DifficultyEstimator, MondrianCategorizer
from encoded import SHARES, answer, minutes, predicted, with_predicted
from lightgbm import LGBMRegressor
from rows import task

job = task()
held_out, asked = (with_predicted(job, part) for part in ("validation", "test"))
errors = minutes(job, "validation") - predicted(job, "validation")
first = np.random.default_rng(job.seed).random(len(errors)) < 0.5
learner = LGBMRegressor(n_jobs=job.threads, random_state=job.seed, verbosity=-1)
learner.fit(held_out[first], np.abs(errors[first]))
difficulty = DifficultyEstimator().fit(f=lambda rows: np.maximum(learner.predict(rows), 0.0), beta=0.1)
groups = MondrianCategorizer().fit(held_out[~first], f=lambda rows: rows[:, -1], no_bins=10)
conformal = ConformalRegressor().fit(
    errors[~first], sigmas=difficulty.apply(held_out[~first]), bins=groups.apply(held_out[~first])
)
answer(
    job,
    [
        conformal.predict_int(
            asked[:, -1], difficulty.apply(asked), groups.apply(asked), confidence=1 - outside
        )
        for outside in SHARES.values()
    ],
)
