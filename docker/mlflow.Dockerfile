# The MLflow tracking server, in an environment of its own: Mage's pins break its web stack.
FROM python:3.11.15-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet
# Above: the slim image has no git, and GitPython warns about it at every import.

COPY requirements-mlflow.txt /tmp/
RUN pip install -r /tmp/requirements-mlflow.txt && rm /tmp/requirements-mlflow.txt

# A fresh named volume takes over the owner of the folder it is mounted on.
RUN useradd --create-home --uid 1000 mlflow \
    && install --directory --owner mlflow --group mlflow /var/lib/mlflow
USER mlflow
WORKDIR /var/lib/mlflow

EXPOSE 5000
# The command is in docker-compose.yml, beside the settings that belong to it.
