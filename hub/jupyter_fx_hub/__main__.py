"""`python -m jupyter_fx_hub`."""

from __future__ import annotations

from jupyter_fx_hub.app import main

if __name__ == "__main__":
    main()
