"""Delete old files that can be created again; champions and their evidence stay.

In reading order:

- `cleanup`: find and delete, under the models' locks
- `policy`: the decision what may be deleted
- `files`: files in the state folder
- `runs`: trials and artefacts of old runs in MLflow
"""
