"""The benchmark compares our library, the course's recipe and AutoML on the same rows of the same machine.

The course's recipe is the usual baseline: a well-known MLOps course's notebook with zone pair and distance
through DictVectorizer, and fixed XGBoost parameters.

Read the modules in this order: `cells` (one measurement in one process, with its stored result), `plan`
(which measurements a run has), the sections (`published`, `by_month`, `ranges`, `without_distance`,
`contenders`, `effort`, `files`, `prediction`, `orchestration`, `repeatability`: each defines its cells and
reports their results), `report`, and `__main__`. All calls into `mlops` are in `ours` and `columns`. The course's
code is in `course`. The peers are scripts in `peers/`, which run in their own environment.

`ablate` and `serve` have sections and a report of their own. `ablate` is `ablations`. `serve` is `load` (the
service under load, by means of `servers` and `wrk`) and `scored` (batch scoring, beside the course's in
`course_batch`); both ask the version of `registered`, where their calls into `mlops` are.

`estimates` is a script: how good the error is that monitoring expects before durations are known.
"""
