"""Docker's copies of the images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doctor.helpers import CASES, base, container, dump
from doctor.source.programs import program
from kubectl_lossless.doctor.__main__ import main

BASE = (CASES / "00-base.yaml").read_text()


def test_images_are_asked_of_docker(
    programs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    objects = base()
    del container(objects)["command"]
    (tmp_path / "web.yaml").write_text(dump(objects))
    config = {"Entrypoint": ["/bin/sh", "-c", "migrate; gunicorn shop.wsgi"], "Cmd": None, "Env": ["A=1"]}
    program(programs, "docker", f"print({json.dumps(config)!r})")
    assert main(["-f", str(tmp_path / "web.yaml"), "--docker"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "PID 1 of web stays a shell: migrate; gunicorn shop.wsgi" in said
    assert '"migrate; exec gunicorn shop.wsgi", where the image has the script' in said


def test_image_that_docker_does_not_have_is_said(
    programs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "web.yaml").write_text(BASE)
    program(programs, "docker", "sys.exit('no such image')")
    assert main(["-f", str(tmp_path / "web.yaml"), "--docker"]) == 2
    said = capsys.readouterr()
    assert "docker does not have registry.test/web:1 (`docker pull` it)" in said.err
    assert "Deployment web in demo" in said.out
