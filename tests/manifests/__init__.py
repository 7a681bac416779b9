"""Tests of the files of k8s/ without a cluster: schemas, and agreement with each other and the service."""
