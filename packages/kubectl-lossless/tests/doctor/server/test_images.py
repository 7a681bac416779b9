"""Shells and servers of images."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.images import by_image, image_name, sh_of
from kubectl_lossless.doctor.shell.tokens import Shell


@pytest.mark.parametrize(
    ("image", "shell"),
    [
        ("python:3.13", Shell.DASH),
        ("python:3.13-alpine", Shell.BUSYBOX),
        ("registry.access.redhat.com/ubi9/python-312", Shell.BASH),
        ("public.ecr.aws/amazonlinux/amazonlinux:2023", Shell.BASH),
        ("registry.test/web:1", Shell.DASH),
    ],
)
def test_sh_of_an_image(image: str, shell: Shell) -> None:
    assert sh_of(image) is shell


def test_server_of_an_image_without_a_command() -> None:
    assert by_image("docker.io/library/nginx:1.29") == "nginx"
    assert by_image("nginx/nginx-prometheus-exporter:1") == ""
    assert image_name("registry.test:5000/a/web:1@sha256:0") == "web"
