"""Facts of an image that its name shows: its shell, and the server that it starts."""

from __future__ import annotations

import re
from pathlib import Path

from kubectl_lossless.doctor.shape import PLACEHOLDER
from kubectl_lossless.doctor.shell.tokens import Shell

SHELLS = {
    "sh": Shell.DASH,  # in Debian's images, so in python:3 and most others; `sh_of` knows the rest
    "dash": Shell.DASH,
    "bash": Shell.BASH,
    "ash": Shell.BUSYBOX,
    "ksh": Shell.OTHER,
    "zsh": Shell.OTHER,
}

WITH_BUSYBOX = re.compile(r"alpine|busybox")

WITH_BASH = re.compile(
    r"(^|[-_/:.])(ubi|rhel|centos|rocky|rockylinux|almalinux|fedora|amazonlinux|amazoncorretto|oraclelinux|opensuse"
    r"|archlinux)[0-9]*($|[-_/:.@])|^registry(\.access)?\.redhat\.(com|io)/"
)
"""Images whose sh is that of BusyBox, and those whose sh is bash."""

WITH_DASH = re.compile(
    r"(docker\.io/)?(library/)?((python|node|debian|ubuntu|nginx|php|ruby|perl|httpd)($|[:@])"
    r"|\S+[:-](slim-)?(bookworm|bullseye|buster|jammy|focal|noble)\b)"
)
"""Images that are known to be Debian's or Ubuntu's, which have bash too."""


def sh_of(image: str) -> Shell:
    """Return the shell that an image has as sh, Debian's where nothing shows another."""
    if WITH_BUSYBOX.search(image):
        return Shell.BUSYBOX
    return Shell.BASH if WITH_BASH.search(image) else Shell.DASH


def by_image(image: str) -> str:
    """Return what an image of that name starts without a command."""
    return "nginx" if image_name(image) in ("nginx", "nginx-unprivileged") else ""


def image_name(image: str) -> str:
    """Return an image's name without its registry, tag and digest."""
    return Path(image.split("@", maxsplit=1)[0]).name.split(":")[0]


LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
DOMAIN = rf"(?:{LABEL}(?:\.{LABEL})*|\[[0-9a-fA-F:]+\])"
COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:{DOMAIN}(?::[0-9]+)?/)?{COMPONENT}(?:/{COMPONENT})*(?::[A-Za-z0-9_][\w.-]{{0,127}})?"
    r"(?:@[A-Za-z][\w.+-]*:[0-9a-fA-F]{32,})?"
)
"""An image's name, as the distribution's reference has it."""

FILLED_IN = re.compile(r"^ko://|(^|/)[A-Z][A-Z0-9_-]{2,}($|[/:@])")
"""An image that ko builds, or a word in capitals such as PROJECT_ID, that something else replaces."""


def wrong_image(image: str) -> str:
    """Return what is wrong with an image's name; "" for one that can be pulled, or that has a placeholder."""
    if PLACEHOLDER.search(image) or FILLED_IN.search(image) or IMAGE.fullmatch(image):
        return ""
    if "://" in image:
        return "is a URL; an image's name has no scheme"
    if re.search(r"\s", image):
        return "has white space in it"
    if re.search(r"[A-Z]", re.sub(r":[^/:]*$", "", image.partition("@")[0])):
        return "has capitals in its repository"
    return "is no image's name"
