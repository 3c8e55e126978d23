"""What is old and can be made again is deleted; champions and their evidence stay.

In reading order:

- `cleanup`: find and delete, under the models' locks
- `policy`: what may go: a pure decision
- `files`: files of the state folder
- `runs`: what old runs left in MLflow
"""
