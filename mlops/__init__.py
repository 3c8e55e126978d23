"""Models that predict how long New York taxi trips take: load, clean, fit, judge, register, serve.

Eleven packages ("rooms"). Each line may import those below it; the modules of the last four lines serve all rooms:

- `command_line`: the commands, their options, and what each does
- `operations`: running the system over time: backfill, backtest, doctor, retention
- `serving`: the champion behind HTTP
- `scoring`: the champion on files
- `monitoring`: the champion on each published month, and what is done about a bad one
- `pipeline`: one month from its source to the registry; start reading at `pipeline.steps`
- `registry`: MLflow: runs, versions, aliases
- `evaluation`: metrics of a model, and the verdict whether it becomes champion
- `training`: from clean trips to a fitted model
- `model`: the code and the artefact that are served
- `data`: from TLC's files to clean trips
- `mage`, `files`, `locks`: support for Mage blocks, atomic file writes, locks between runs
- `masking`: secrets are kept out of logs and messages
- `progress`: how far a long step is, and the clock of log lines
- `config`, `state_folder`: settings of a run, paths of everything that is written
- `addresses`, `month`, `errors`: checked addresses, calendar months, error classes

`__main__` is the command line.
"""

__version__ = "0.1.0"
