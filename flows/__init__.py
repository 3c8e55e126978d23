"""The pipeline under other orchestrators: one file for each, which calls `mlops.pipeline.steps`.

Mage's folders are the home of the pipeline. These files are for people who run something else already; each needs
an environment of its own, see `docs/anywhere.md`.

with_prefect    Prefect 3: flows, deployments and the process that serves them
with_mlflow     MLflow Projects: the entry points of `MLproject`, in Mage's own environment
with_airflow    Airflow 3: one DAG, whose form has the settings
with_kubeflow   Kubeflow Pipelines 2: four components, the compiled pipeline, and the local runner
"""
