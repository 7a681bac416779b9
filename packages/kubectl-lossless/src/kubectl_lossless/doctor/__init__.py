"""Report the settings of a workload that lose requests when its pods terminate: `kubectl lossless doctor`.

documents.py   manifests as objects, with the line of each field
shape.py       the types of the fields that the checks read
workload.py    a workload and the objects around it, as the checks ask for them
server.py      the known servers; own.py the settings of this project's service
configuration.py  Gunicorn's configuration file, read and not executed
shell.py       the process that a shell's script leaves as PID 1
prestop.py     how long a preStop hook waits
checks/        a function for each check; its docstring is its line in docs/doctor.md
finding.py     the finding that a check reports
source.py      where the objects come from: files, standard input, kustomize, a cluster
report.py      findings, skipped and refused objects; formats.py writes it
"""
