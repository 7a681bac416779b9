"""All kinds of manifests with the findings that count in them."""

from __future__ import annotations

from doctor.helpers import Object, base
from doctor.kinds import KINDS
from doctor.kinds_of_fields import FIELDS
from doctor.kinds_of_files import FILES
from doctor.kinds_of_forms import FORMS
from doctor.kinds_of_handlers import HANDLERS
from doctor.kinds_of_hooks import HOOKS
from doctor.kinds_of_neighbours import NEIGHBOURS
from doctor.kinds_of_objects import OBJECTS
from doctor.kinds_of_pods import PODS
from doctor.kinds_of_programs import PROGRAMS
from doctor.kinds_of_refusals import REFUSALS
from doctor.kinds_of_routes import ROUTES
from doctor.kinds_of_scripts import SCRIPTS
from doctor.kinds_of_servers import SERVERS
from doctor.kinds_of_starts import STARTS
from doctor.kinds_of_updates import UPDATES
from doctor.kinds_of_workloads import WORKLOADS

PARTS = (
    KINDS,
    STARTS,
    FIELDS,
    FORMS,
    PODS,
    SERVERS,
    UPDATES,
    HOOKS,
    PROGRAMS,
    ROUTES,
    WORKLOADS,
    REFUSALS,
    SCRIPTS,
    HANDLERS,
    OBJECTS,
    FILES,
    NEIGHBOURS,
)
ALL = {name: each for part in PARTS for name, each in part.items()}


def manifest(name: str) -> list[Object]:
    """Return the objects of one of them."""
    return base(*ALL[name][0])
