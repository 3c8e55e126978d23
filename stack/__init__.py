"""The services of docker-compose.yml as plain processes of this machine, run by supervisord.

compose        what docker-compose.yml says about each service, with this machine's ports and folders
secret_values  the passwords and ports of a stack: its `.env`
cluster        PostgreSQL's folder of data, its users and databases
processes      the processes of a stack: found by a variable in their environment, and ended
launch         what supervisord runs for a service: end leftovers, then become the service
supervision    supervisord: configured, started, asked and shut down
stack          a stack: prepared, started, checked and stopped
backup         one archive of all that a stack knows, and a stack made from it
__main__       the command line
"""
