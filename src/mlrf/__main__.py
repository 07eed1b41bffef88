"""`python -m mlrf`: the command line."""

import sys

from mlrf.cli import main

if __name__ == "__main__":
    sys.exit(main())
