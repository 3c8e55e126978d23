# The online service in its own environment: a third of Mage's, and newer versions than Mage allows.
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet
# GIT_PYTHON_REFRESH: the slim image has no git, and GitPython would warn at every import.

COPY requirements-serving.txt /tmp/
RUN pip install --require-hashes --only-binary :all: -r /tmp/requirements-serving.txt && rm /tmp/requirements-serving.txt

# A new named volume gets the owner of the folder on which it is mounted. Mage's user has the same number (1000), so
# that both can use the state folder.
RUN useradd --create-home --uid 1000 serving \
    && install --directory --owner serving --group serving /var/lib/mlops

# The library; `python -m` finds it in the current folder.
COPY mlops /opt/trip_duration/mlops
WORKDIR /opt/trip_duration
USER serving

EXPOSE 8000
# The command is in docker-compose.yml, together with its settings.
