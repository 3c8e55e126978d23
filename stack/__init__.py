"""The services of docker-compose.yml as plain processes on this machine, run by supervisord.

compose        read docker-compose.yml: each service's settings, with this machine's ports and folders
secret_values  the passwords and ports of a stack: its `.env`
cluster        PostgreSQL's data folder, its users and databases
schema         which tables MLflow and Mage have in their databases, and whether they fit the programs
processes      find the processes of a stack by a variable in their environment, and end them
merge          merge what the checkout and Mage's pages changed in a YAML file
launch         the program that supervisord runs for a service: end old processes, then become the service
supervision    configure, start, query and shut down supervisord
stack          prepare, start, check and stop a stack
databases      migrate the tables of MLflow and Mage, on copies that take their place at the end
archive        the file of a backup: authenticated, and unpacked with nothing in it that is not expected
backup         write a stack's records into one archive, and restore a stack from it
upgrade        backup, migration, start, doctor
__main__       the command line

mage           the command `mage`, with our mends; also without the stack
mage_project   Mage's copy of the project: made once, then brought up to date
mage_queue     the queue, which loses no run and starts none twice
mage_guard     who may send a request to Mage: no page of another server, no other host name
mage_doors     who gets in: the editor's link, a user of the stack
mage_messages  Mage's messages and records of failures: no secret gets into them
mage_asterisks which values of variables the editor hides in blocks' outputs
mage_terminal  which lines of Mage are left out of the terminal
mage_editor    Mage's editor: autocompletion, the kernel's process and sockets, git's settings
mage_charts    the charts beside the blocks: drawn after each run of their block
mage_files     Mage's files: it changes only what a user changed
yaml_texts     change a YAML text and keep its order and comments
mlflow_server  MLflow's server over the state folder, without the stack
prefect_server Prefect's server with its pages, and the process that runs our flows
prefect_settings  their addresses, log-in and database
notebook       the notebook in JupyterLab, and its script
jupyter_config settings of JupyterLab that are code
next_steps     what to look at and to do after `make demo`
"""
