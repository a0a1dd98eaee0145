"""What of an environment is nobody's business where tasks run. One place for it: the embedded agent's and every
worker's environment is made with this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["scrubbed"]

_NAME: Final = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|COOKIE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|WEBHOOK|CONNECTION_STRING"
    r"|_AUTH(_CONFIG)?$|_PWD$|_PAT$|_DSN$|^SSH_AUTH_SOCK$"
    r"|^AWS_|^AZURE_|^GOOGLE_|^GCP_|^GCLOUD|^OPENAI_|^ANTHROPIC_|^HF_|^GITHUB_|^GITLAB_|^GLOBUS_"
    r"|^JUPYTERHUB_|^JPY_|^JUPYTER_FX_(HUB|ENDPOINT|CODE)$",
    re.IGNORECASE,
)
_VALUE: Final = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
"""A URL with a password in it, as in DATABASE_URL."""
_PROXY: Final = re.compile(r"_PROXY$", re.IGNORECASE)
"""Without these, user code could not reach anything; their passwords open nothing else."""


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for user code: without tokens, passwords, cloud keys, and URLs that hold a password."""
    return {
        name: value
        for name, value in environ.items()
        if not _NAME.search(name) and (_PROXY.search(name) or not _VALUE.search(value))
    }
