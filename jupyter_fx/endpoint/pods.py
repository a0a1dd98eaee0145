"""Pods as an endpoint's blocks: what may be set about them (`c.Kubernetes.…`), and the manifest that is made of it.

There is no secret in a manifest: a block's secret is in the endpoint's directory, which pods see by a volume claim.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
from pathlib import Path, PurePosixPath
from typing import Any, Final

from traitlets import Dict, List, Unicode
from traitlets.config import Configurable

from jupyter_fx.errors import UsageError

__all__ = ["BLOCK", "JOB", "OWNER", "Kubernetes", "manifest", "stderr_of"]

JOB: Final = "org.jupyter-fx.job"
"""The label by which the pods of one job are found."""
BLOCK: Final = "org.jupyter-fx.block"
OWNER: Final = "org.jupyter-fx.owner"
"""The label by which those of one endpoint are."""


class Kubernetes(Configurable):
    """What pods are like, where c.Blocks.provider is kubernetes."""

    context = Unicode("", help="The context of your kubeconfig. Empty: its current one; in a pod, that cluster.").tag(
        config=True
    )
    namespace = Unicode("", help="The namespace of the pods. Empty: the context's own, or the agent's pod's.").tag(
        config=True
    )
    image = Unicode(
        "",
        help="The image that pods run: with /bin/sh, and a Python with this version of jupyter-fx: c.Blocks.python.",
    ).tag(config=True)
    image_pull_secrets = List(Unicode(), help="Names of the namespace's secrets for the image's registry.").tag(
        config=True
    )
    volumes = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="Persistent volume claims and where pods see them: {'home': '/home/me'}, or a folder of one: "
        "{'home/me': '/home/me'}. The endpoint's directory must be in one of them, at the path that it has here.",
    ).tag(config=True)
    service_account = Unicode("", help="The pods' service account. Its token is not mounted.").tag(config=True)
    node_selector = Dict(
        key_trait=Unicode(), value_trait=Unicode(), help="Labels that nodes must have, say {'gpu': 'a100'}."
    ).tag(config=True)
    tolerations = List(
        Dict(), help="Taints of nodes that do no harm, say [{'key': 'nvidia.com/gpu', 'operator': 'Exists'}]."
    ).tag(config=True)
    priority_class = Unicode("", help="The pods' priority class.").tag(config=True)
    labels = Dict(
        key_trait=Unicode(), value_trait=Unicode(), help="Labels of the pods, beside those that they are found by."
    ).tag(config=True)
    gpu_resource = Unicode("nvidia.com/gpu", help="What the cluster calls a GPU.").tag(config=True)

    def claims(self) -> list[tuple[str, str, str]]:
        """(claim, folder in it, where it is mounted); UsageError for a path that is none."""
        found = []
        for claim, path in self.volumes.items():
            name, _, folder = claim.partition("/")
            if not path.startswith("/") or ".." in PurePosixPath(path).parts:
                raise UsageError(f"c.Kubernetes.volumes: {path!r} is no absolute path")
            found.append((name, folder.strip("/"), path))
        return found

    def sees(self, folder: Path) -> bool:
        """Whether pods see this directory."""
        return any(folder.is_relative_to(path) for _claim, _folder, path in self.claims())


def stderr_of(folder: Path, pod: str) -> Path:
    """Where a pod of the block with this directory writes its complaints."""
    return folder / f"{pod}.stderr"


def manifest(blocks: Any, name: str, number: int, command: str, folder: Path, owner: str) -> dict[str, Any]:
    """One pod of a job, as JSON. `blocks`: the settings; `name`: the job's; `owner`: the endpoint's mark."""
    kube, pod, uid = blocks.kubernetes, f"{name}-{number}", os.getuid()
    claims = kube.claims()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod,
            "labels": {
                **kube.labels,
                "app.kubernetes.io/managed-by": "jupyter-fx",
                JOB: name,
                BLOCK: folder.name,
                OWNER: owner,
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(blocks.seconds),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # The files that it shares with the agent are open to the agent's user alone.
            "securityContext": {
                "runAsNonRoot": uid != 0,
                "runAsUser": uid,
                "runAsGroup": os.getgid(),
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **({"serviceAccountName": kube.service_account} if kube.service_account else {}),
            **({"nodeSelector": dict(kube.node_selector)} if kube.node_selector else {}),
            **({"tolerations": list(kube.tolerations)} if kube.tolerations else {}),
            **({"priorityClassName": kube.priority_class} if kube.priority_class else {}),
            **(
                {"imagePullSecrets": [{"name": one} for one in kube.image_pull_secrets]}
                if kube.image_pull_secrets
                else {}
            ),
            "containers": [
                {
                    "name": "manager",
                    "image": kube.image,
                    "command": ["/bin/sh", "-c", _script(blocks, command, folder, pod)],
                    "env": _env(blocks),
                    "resources": {"requests": _resources(blocks), "limits": _resources(blocks)},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    # What is wrong before anything can be written to the volume is told by the pod's status.
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [
                        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
                        *(
                            {"name": f"claim-{n}", "mountPath": path, **({"subPath": sub} if sub else {})}
                            for n, (_claim, sub, path) in enumerate(claims)
                        ),
                    ],
                }
            ],
            "volumes": [
                # A container's own has 64 MiB, too little for loaders of data. It counts as the pod's memory.
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
                *(
                    {"name": f"claim-{n}", "persistentVolumeClaim": {"claimName": claim}}
                    for n, (claim, _folder, _path) in enumerate(claims)
                ),
            ],
        },
    }


def _script(blocks: Any, command: str, folder: Path, pod: str) -> str:
    out, err = shlex.quote(str(folder / f"{pod}.stdout")), shlex.quote(str(stderr_of(folder, pod)))
    return "\n".join(["umask 077", *blocks.setup, f"exec {command} >>{out} 2>>{err}"])


def _resources(blocks: Any) -> dict[str, str]:
    found = {"cpu": str(blocks.cores_per_node or 1)}
    if blocks.memory_per_node:
        found["memory"] = f"{round(blocks.memory_per_node * 1024)}Mi"
    if blocks.gpus_per_node:
        found[blocks.kubernetes.gpu_resource] = str(blocks.gpus_per_node)
    return found


def _env(blocks: Any) -> list[dict[str, Any]]:
    """What a manager has to know of its node, and what a user has who stands in no image's list of users."""
    home = Path.home()
    found = {"HOME": str(home) if blocks.kubernetes.sees(home) else "/tmp"}  # noqa: S108
    with contextlib.suppress(OSError, KeyError):
        found["USER"] = found["LOGNAME"] = getpass.getuser()
    found["JUPYTER_FX_NODE_CORES"] = str(blocks.cores_per_node or 1)
    if blocks.gpus_per_node:
        # Only its own are seen in a pod, whatever their numbers are outside.
        found["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(blocks.gpus_per_node)))
    # Its limit, also one that the namespace sets; without any, what the node has for pods.
    limit = {"resourceFieldRef": {"containerName": "manager", "resource": "limits.memory"}}
    return [
        *({"name": name, "value": value} for name, value in found.items()),
        {"name": "JUPYTER_FX_NODE_MEMORY", "valueFrom": limit},
    ]
