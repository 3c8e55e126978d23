"""Trip-duration models of New York's taxis: load, clean, fit, judge, register.

Seven rooms; each may use those below it, and the last two lines are for all:

- `operations`: what keeps it alive: backfill, backtest, doctor, retention
- `pipeline`: one month from its source to the registry; `pipeline.steps` is the whole story
- `registry`: MLflow: runs, versions, aliases
- `evaluation`: how good a model is, and whether it becomes champion
- `training`: from clean trips to a fitted model
- `model`: what is served
- `data`: from TLC's files to clean trips
- `mage`, `files`, `locks`: what a block needs, files written whole, one holder at a time
- `config`, `month`, `errors`: settings, calendar months, every error

`__main__` is the command line.
"""

__version__ = "0.1.0"
