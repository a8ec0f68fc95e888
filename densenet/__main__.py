"""`python -m densenet` is the command `densenet`."""

import sys

from densenet.cli import main

sys.exit(main())
