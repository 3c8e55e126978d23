"""The commands of `python -m mlops`; `mlops.__main__` runs them.

In reading order:

- `options`: the commands and their options, with the text of each `--help`
- `setting_groups`: the order of the training settings
- `commands`: what each command does
"""
