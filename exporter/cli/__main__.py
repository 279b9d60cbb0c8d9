"""``python -m gemcut.cli`` is ``gemcut``."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
