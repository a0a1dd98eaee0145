"""The Jupyter server extension: hands kernels their hub and frees sessions when kernels end.

jupyter_server finds it through `jupyter_fx._jupyter_server_extension_points`; nobody else calls it.
"""

from __future__ import annotations

from jupyter_fx.server.app import FxExtension

__all__ = ["FxExtension"]
