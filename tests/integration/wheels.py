"""A package that no index has, to install from."""

from __future__ import annotations

import zipfile
from pathlib import Path


def fruit(folder: Path) -> None:
    """A wheel of fxfruit 1.5, with a colour and the program fxtaste that says what it runs in, in this folder."""
    about = "fxfruit-1.5.dist-info"
    with zipfile.ZipFile(folder / "fxfruit-1.5-py3-none-any.whl", "w") as file:
        file.writestr("fxfruit.py", "import sys\ncolour = 'red'\ndef main(): print(sys.prefix)\n")
        file.writestr(f"{about}/entry_points.txt", "[console_scripts]\nfxtaste = fxfruit:main\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: fxfruit\nVersion: 1.5\n")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
