"""`python -m limner`, which is what torchrun starts."""

import sys

from limner.cli import main

if __name__ == "__main__":
    sys.exit(main())
