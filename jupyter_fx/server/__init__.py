"""The Jupyter server extension: hands kernels their hub and frees sessions when kernels end."""
