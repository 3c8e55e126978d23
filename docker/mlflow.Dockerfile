# The MLflow tracking server in its own environment, because Mage's pinned versions break its web server.
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet
# GIT_PYTHON_REFRESH: the slim image has no git, and GitPython would warn at every import.

COPY requirements-mlflow.txt /tmp/
RUN pip install --require-hashes --only-binary :all: -r /tmp/requirements-mlflow.txt && rm /tmp/requirements-mlflow.txt

# A new named volume gets the owner of the folder on which it is mounted.
RUN useradd --create-home --uid 1000 mlflow \
    && install --directory --owner mlflow --group mlflow /var/lib/mlflow
USER mlflow
WORKDIR /var/lib/mlflow

EXPOSE 5000
# The command is in docker-compose.yml, together with its settings.
