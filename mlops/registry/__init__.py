"""MLflow, and nothing else that imports it.

In reading order:

- `client`: the tracking server: asked first whether it is there, tried again while it is away
- `server_facts`: versions of MLflow and of its tables, and where artefacts go
- `runs`: what a run logs, and what is read back from it
- `run_lifecycle`: a run begins and always ends
- `artifact`: what a registered version carries
- `versions`: registered once per run key, found again, scored
- `run_history`: past runs of a model, and how what they left is deleted
- `alias_log`: every move of an alias, its intent first
- `verification`: does the registry give out what was tested?
- `verification_process`: the process that finds out
- `operator`: what a person asks of the registry, and does to it
"""
