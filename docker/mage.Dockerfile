# Mage with this project inside. Mage's own image is not used: it is Python 3.10, and it starts
# with a warning when the requirements do not install.
FROM python:3.11.15-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet
# Above: the slim image has no git, and GitPython warns about it at every import.

# The lock first: changing the project's code then reinstalls nothing.
COPY requirements.txt /tmp/
RUN pip install -r /tmp/requirements.txt && rm /tmp/requirements.txt

# A fresh named volume takes over the owner of the folder it is mounted on.
RUN useradd --create-home --uid 1000 mage \
    && install --directory --owner mage --group mage /srv/trip_duration /var/lib/mage /var/lib/mlops

# Mage keys its data by this folder's name and puts the folder's parent on sys.path: a parent that
# holds nothing else, and a name that is not a package's.
WORKDIR /srv/trip_duration
# Owned by the user, because the editor writes pipelines and triggers. What it writes is gone with
# the container: lasting changes are commits.
COPY --chown=mage:mage . .
RUN pip install --no-deps --editable . --config-settings editable_mode=compat
USER mage

EXPOSE 6789
# The command is in docker-compose.yml, beside the settings that belong to it.
