"""Variables that Kubernetes creates for a Service of the namespace, in every container."""

from __future__ import annotations


def service_links(service: str, port: int) -> dict[str, str]:
    """Return the variables for a Service, with a port that has a name."""
    name = service.upper().replace("-", "_")
    return {
        f"{name}_SERVICE_HOST": "10.43.0.9",
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_DRAIN_MIN": str(port),
        f"{name}_PORT": f"tcp://10.43.0.9:{port}",
        f"{name}_PORT_{port}_UDP": f"udp://10.43.0.9:{port}",
        f"{name}_PORT_{port}_UDP_PROTO": "udp",
        f"{name}_PORT_{port}_UDP_PORT": str(port),
        f"{name}_PORT_{port}_UDP_ADDR": "10.43.0.9",
    }
