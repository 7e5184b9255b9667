"""`python -m lrsa_geo.cli` is `lrsa-geo`."""

import sys

from lrsa_geo.cli import main

sys.exit(main())
