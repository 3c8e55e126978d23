"""One month, from its source to the registry.

In reading order:

- `steps`: the whole story, what blocks and command line both call
- `months_table`: the table that one step hands to the next, and what it must hold
- `schedule`: which month comes next
- `run_key`: what makes two runs the same
- `checkpoint`: what an attempt leaves for the next one
- `run_once`: one run key, one version, however often it is tried
- `fit_stage`: first half of a run: tune and fit
- `judge_stage`: second half: judge, register, verify, promote
- `leaderboard`: what a person reads about a run
"""
