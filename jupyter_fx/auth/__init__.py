"""Where tokens and keys come from: the embedded hub, JupyterHub, Globus."""
