"""What is known of what the image holds: audit.py asks for known vulnerabilities, sbom.py lists it."""
