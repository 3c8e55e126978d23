"""The commands of `python -m mlops`; `mlops.__main__` runs them.

In reading order:

- `options`: the commands and their options, with the text of each `--help`
- `commands`: what each command does
"""
