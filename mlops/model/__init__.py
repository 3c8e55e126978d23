"""The served model. Every registered version contains a copy of this folder and of `errors.py`.

In reading order:

- `request_columns`: reads requests, in whichever types they come
- `city_calendar`: public holidays and school days of New York
- `own_features`: features of your own: the place to add them
- `own_feature_values`: what such a feature is, and how its values are computed and checked
- `features`: from a request to numeric features
- `encoder`: smoothed means of past trips for a request
- `row_predictor`: fast prediction of the trees for one request
- `intervals`: prediction intervals of a duration
- `interval_tables`: intervals of artefacts from before 2026-12
- `estimator`: trees with their intervals
- `learned_range`: which requests are outside of what was learnt
- `duration_model`: `DurationModel`, which combines these in one artefact
- `version_code`: loads the code of a registered version separately from every other version's code

Modules here use relative imports, and import nothing else of this project except `errors`, because each version
has its own package name.
"""

from __future__ import annotations

from typing import Any


def _load_pyfunc(path: str) -> Any:
    """The `DurationModel` of an artefact, loaded with the code stored next to it. MLflow calls this function."""
    from .version_code import load_model  # here, so that importing this package imports nothing

    return load_model(path)
