"""The benchmark: our library, the course's recipe and AutoML side by side, on the same rows of the same machine.

Read it in this order: `cells` (one measurement in one process, kept), `plan`
(which measurements a run is made of), the sections (`published`, `by_month`,
`contenders`, `effort`, `files`, `prediction`, `orchestration`, `repeatability`,
each with its cells and what they say), `report`, and `__main__`. All calls into
`mlops` are in `ours`; the course's side is in `course`; the peers are scripts
for an environment of their own, in `peers/`.
"""
