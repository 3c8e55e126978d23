"""One month, from its source to the registry.

In reading order:

- `steps`: the four steps of a run, called by Mage's blocks and by the command line
- `months_table`: the table that each step passes to the next, and its schema
- `block_tables`: what the blocks show of these tables, and the way back to the full table
- `glimpses`: numbers for the charts beside the blocks
- `table_schema`: table schemas with error texts for people
- `schedule`: which month comes next
- `code_checks`: this process has the code that is on disk, and your own features can be used
- `run_key`: the key that is equal for two runs with the same inputs
- `code_hash`: text of what code does, for hashing
- `rule_texts`: a run's own cleaning rules as text
- `checkpoint`: what an attempt stores for the next one
- `run_once`: one run key, one version, after any number of attempts
- `retry_policy`: which errors another try may mend
- `fit_stage`: log a run's origin, tune and fit
- `judge_stage`: test, compare, decide
- `release_stage`: register, verify, promote
- `difference`: what an experiment does differently from the champion's run
- `experiment`: a run that is tested and compared, and never registered
- `run_result`: the result of a run, as a value
- `leaderboard`: the result of a run, as a table for people
"""
