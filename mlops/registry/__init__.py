"""Everything that talks to MLflow; no other package imports it.

In reading order:

- `local_stack`: the stack of this state folder, from the files that `make stack` writes
- `first_check`: whether the tracking server answers and lets us in; a failure is named
- `tables`: whether a database's tables fit the installed MLflow
- `client`: the connection to the tracking server, and retries while it does not answer
- `server_facts`: versions of MLflow and of its tables, and where artefacts go
- `metric_names`: names of metrics in MLflow, in groups
- `runs`: what a run logs, and what is read back from it
- `run_lifecycle`: start a run, keep it alive, and always close it
- `signature`: signatures of versions and alias moves, made with a key outside of the registry
- `signed_version`: a version, and what is signed of it
- `artifact`: what a registered version carries
- `version_files`: a version's files: fetched, checked against its signature, asked for predictions
- `versions`: register one version per run key, look versions up
- `model_months`: the metrics of a model over its test months, as curves
- `run_history`: past runs of a model, and how to delete their trials and artefacts
- `journal_tags`: entries of the journal as tags of the registered model
- `experiments`: runs that are compared with a champion and never registered
- `experiment_list`: what a person reads about them
- `alias_log`: the journal: every move of an alias, written before it happens
- `last_check`: what the last check for a new month found
- `overrides`: verdicts that a person overrode
- `approvals`: promotions that wait until a person approves them
- `descriptions`: what MLflow's pages say about a model and its versions, with links
- `monitoring_record`: what is kept of a compared month, as a value and as JSON
- `monitoring_log`: the compared months of a model in MLflow
- `monitoring_history`: the same with trainings and alias moves
- `monitoring_words`: what a record means, in words
- `svg`: charts for pages without scripts
- `monitoring_page`: the compared months of all models as one page
- `local_copy`: load a version from its copy on this machine, without MLflow
- `loading`: load a version to predict with it, in this process
- `verification`: check that the registry serves the model that was tested
- `verification_process`: the fresh process that makes this check
- `trust`: sign versions that a person trusts: those of an older release or another machine
- `records`: what the listings know, as values, also for programs
- `listings`: what a person reads: versions, alias moves, the champion of a day
- `operator`: what a person does: promote, roll back
- `status_records`: what an operator must know of models, servers and disk, as values
- `state_disk`: room on the disk of the state folder
- `newest_runs`: the newest runs that did not succeed, and those at work
- `status_reading`: what an operator must know of each model
- `status_words`: a status in words, for screen and page
- `attention`: what needs a person, worst first
- `status_page`: a status as a page
"""
