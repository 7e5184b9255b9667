"""``python -m lrsa_geo``: the command `lrsa-geo`."""

import sys

from lrsa_geo.cli import main

if __name__ == "__main__":
    sys.exit(main())
