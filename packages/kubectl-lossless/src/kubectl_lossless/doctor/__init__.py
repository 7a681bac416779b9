"""Report what in a workload loses requests when its pods terminate: `kubectl lossless doctor`.

documents.py   manifests as objects, with the line of each field
shape.py       the types of the fields that the checks read
workload.py    a workload and the objects around it, as the checks ask for them
server.py      the known servers; own.py the settings of this project's service
configuration.py  Gunicorn's configuration file, read and not executed
shell.py       the process that a shell's script leaves as PID 1
prestop.py     how long a preStop hook waits
checks/        a function for each check; its docstring is its line in docs/doctor.md
finding.py     what a check reports
source.py      where the objects come from: files, standard input, kustomize, a cluster
report.py      what was found, skipped and refused; formats.py writes it
"""
