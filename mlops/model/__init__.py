"""What is served. This folder and `errors.py` travel inside every registered version.

In reading order:

- `features`: a request as numbers
- `encoder`: what past trips say about a request: smoothed means
- `intervals`: the range that a duration most likely lies in
- `row_predictor`: the trees' answer to one request, without a table's cost
- `duration_model`: `DurationModel`, all of these as one artefact
- `version_code`: the code that a registered version carries, apart from every other version's

Modules here import each other relatively, and nothing else of this project but `errors`: a version carries them
under a package name of its own.
"""

from __future__ import annotations

from typing import Any


def _load_pyfunc(path: str) -> Any:
    """The `DurationModel` of an artefact, of the code that lies beside it. MLflow calls this."""
    from .version_code import load_model  # here, so that importing this package imports nothing

    return load_model(path)
