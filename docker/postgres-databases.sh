#!/bin/sh
# Creates a database and a role of the same name for Mage, for MLflow and, where it has a password, for Prefect; no
# role can read another's.
#
# The postgres image runs this once, on an empty volume. It can be run again at any time; then it also
# sets the roles' passwords to those of the environment:
#
#     docker compose up --detach postgres
#     docker compose exec postgres sh /docker-entrypoint-initdb.d/databases.sh
#
# Reads MAGE_DB_PASSWORD, MLFLOW_DB_PASSWORD, PREFECT_DB_PASSWORD (`make prefect` sets it), and the variables of
# psql (PGHOST, PGPORT, ...).
set -eu

ensure_database() { # NAME PASSWORD_VARIABLE
    # \getenv, not an argument, because the list of processes shows arguments.
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set "name=$1" \
        --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
-- The server logs the text of a statement that fails, and that would show the password.
SET log_min_error_statement = panic;
SET log_statement = none;
SET log_min_duration_statement = -1;
\getenv password $2
SELECT format('CREATE ROLE %I LOGIN', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

: "${MAGE_DB_PASSWORD:?is not set, see .env.example}"
: "${MLFLOW_DB_PASSWORD:?is not set, see .env.example}"
ensure_database mage MAGE_DB_PASSWORD
ensure_database mlflow MLFLOW_DB_PASSWORD
[ -z "${PREFECT_DB_PASSWORD:-}" ] || ensure_database prefect PREFECT_DB_PASSWORD
