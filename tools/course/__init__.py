"""The course's experiment: a rolling update from rung to rung under load, watched and measured.

`tools.course.stage` is the part of the cluster that an experiment needs, restored at its end;
`tools.course.experiment` is one update, `tools.course.course` all rungs. `python -m tools.course --help` is
the command line. Load, watch and report are those of `kubectl lossless measure`, in
packages/kubectl-lossless.
"""
