"""Checks a Deployment, ours or not, for what would lose requests when its pods leave: `python -m doctor`.

finding.py     what a check says
subject.py     the Deployment and the objects around it, as the checks ask for them
server.py      what is known of the server that a container runs
checks/        a function a check; its docstring's first paragraph is its line in docs/doctor.md
source.py      where the objects come from: kubectl's cluster, or files
"""
