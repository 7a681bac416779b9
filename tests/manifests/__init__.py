"""The files of k8s/ without a cluster: schemas, and all in them that must agree with something else."""
