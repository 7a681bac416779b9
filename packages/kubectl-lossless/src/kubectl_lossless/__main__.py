"""`python -m kubectl_lossless`."""

import sys

from kubectl_lossless.cli import main

sys.exit(main())
