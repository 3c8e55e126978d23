"""One month, from its source to the registry.

In reading order:

- `steps`: the whole story, what blocks and command line both call
- `months_table`: the table that one step hands to the next, and what it must hold
- `table_schema`: schemas of such tables, whose refusals are sentences for people
- `schedule`: which month comes next
- `run_key`: what makes two runs the same
- `code_hash`: what code does, as text to be hashed
- `checkpoint`: what an attempt leaves for the next one
- `run_once`: one run key, one version, however often it is tried
- `fit_stage`: log a run's origin, tune and fit
- `judge_stage`: test, compare, decide
- `release_stage`: register, verify, promote
- `run_result`: what became of a run, as a value
- `leaderboard`: the same as a table for people
"""
