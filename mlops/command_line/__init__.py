"""The commands of `python -m mlops` or `trip-duration`; `mlops.__main__` runs them.

In reading order:

- `setting_groups`: the order of the training settings
- `arguments`: what several commands have: their help, an option for each setting
- `layout`: rows as lines of text that fit a terminal
- `printing`: text, tables and JSON on standard output
- `work_records`: what runs, the doctor and `tidy` print as JSON
- `json_records`: what each command prints with `--json`
- `consent`: the model that a command works on, and what a person agrees to
- `training`: `train`, `backfill`, `replay` and `reproduce`
- `version_texts`: versions, alias moves and champions as texts
- `experiment_texts`: experiments as text
- `versions`: `show`, `registry`, `experiments`, and what moves the champion
- `waiting`: a note on a terminal while a command takes longer than a second
- `ride`: `predict`
- `answers`: `predict`, `score` and `monitor`
- `status_screen`: what `status` shows
- `notify`: `notify`
- `upkeep`: `status`, `notify`, `doctor` and `tidy`
- `completion`: what a shell needs to complete commands and options
- `about`: versions of this project and its libraries
- `command_parser`: usage, help, and suggestions for wrong words
- `bars`: bars for downloads, trials and rows on a terminal
- `quick_start`: what makes a command start fast
- `parser`: all commands, and what is wrong with a command line

A command's function takes the parsed options and returns the exit status. Its imports are inside, so that `--help`
and usage errors do not wait for xgboost and mlflow.
"""
