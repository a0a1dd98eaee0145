"""`python -m jupyter_fx.endpoint NAME`: the agent's program."""

from __future__ import annotations

import sys

from jupyter_fx.endpoint.main import main

if __name__ == "__main__":
    sys.exit(main())
