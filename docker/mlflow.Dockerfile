# The MLflow tracking server in its own environment, because Mage's pinned versions break its web server.
FROM python:3.11.15-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet
# GIT_PYTHON_REFRESH: the slim image has no git, and GitPython would warn at every import.

COPY requirements-mlflow.txt /tmp/
RUN pip install -r /tmp/requirements-mlflow.txt && rm /tmp/requirements-mlflow.txt

# A new named volume gets the owner of the folder on which it is mounted.
RUN useradd --create-home --uid 1000 mlflow \
    && install --directory --owner mlflow --group mlflow /var/lib/mlflow
USER mlflow
WORKDIR /var/lib/mlflow

EXPOSE 5000
# The command is in docker-compose.yml, together with its settings.
