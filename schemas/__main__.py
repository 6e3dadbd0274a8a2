"""`python -m schemas` is `python -m schemas.publish`."""

import sys

from schemas.publish import main

main(sys.argv[1:])
