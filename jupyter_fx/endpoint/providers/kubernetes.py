"""Kubernetes (the `[kubernetes]` extra): a job is as many pods as the block has nodes, named and labelled by its name.

Parsl's provider for it is not used: it names pods as it likes, by which a submission that was cut off could not be
found again, and tells neither why one waits nor what the cluster said when it refused one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from jupyter_fx.endpoint import pods
from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.providers.base import TIMEOUT, JobSpec, ProviderError, said
from jupyter_fx.endpoint.providers.budget import Budget
from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.allocation import chosen

__all__ = ["KubernetesProvider", "connected", "job_of"]

_LABEL: Final = "Kubernetes"
_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_OVER: Final = {"Succeeded", "Failed"}
_IMAGE: Final = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_GONE: Final = 404


class Cluster(NamedTuple):
    """A client of the API, and the namespace that pods are in."""

    api: Any
    namespace: str
    errors: tuple[type[Exception], ...]


def connected(context: str, namespace: str) -> Cluster:
    """By the kubeconfig, or in a pod as its service account; nothing is asked yet. UsageError for what is missing."""
    try:
        from kubernetes import client, config
        from urllib3.exceptions import HTTPError
    except ImportError as error:
        raise UsageError(
            f"endpoints on Kubernetes need its client: pip install 'jupyter-fx[kubernetes]' ({error})"
        ) from error
    settings = client.Configuration()
    # It is asked again soon enough, and a pod is never asked for twice.
    settings.retries = False
    file = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    try:
        if any(Path(one).is_file() for one in file.split(os.pathsep)):
            config.load_kube_config(file, context or None, settings, persist_config=False)
            contexts, active = config.list_kube_config_contexts(file)
            there = next((one for one in contexts if one["name"] == context), active)
            own = there["context"].get("namespace", "default")
        elif _NAMESPACE.exists() and not context:
            config.load_incluster_config(settings)
            own = _NAMESPACE.read_text().strip()
        else:
            raise UsageError(
                f"there is no kubeconfig ({file}), and this is no pod of a cluster: set KUBECONFIG, or have one "
                "written as your cluster's manual says; `kubectl get pods` works then"
            )
    except config.ConfigException as error:
        raise UsageError(f"the kubeconfig {file} cannot be used: {error}") from error
    return Cluster(client.CoreV1Api(client.ApiClient(settings)), namespace or own, (client.ApiException, HTTPError))


class KubernetesProvider:
    """`settings` are `c.Blocks`; `blocks`: the directory of all blocks' directories."""

    label = _LABEL
    default_partition = ""

    def __init__(self, settings: Any, blocks: Path) -> None:
        self._settings = settings
        self._blocks = blocks
        self._made: Cluster | None = None

    # The cluster.

    @property
    def _cluster(self) -> Cluster:
        if self._made is None:
            kube = self._settings.kubernetes
            self._made = connected(kube.context, kube.namespace)
        return self._made

    def _ask(self, verb: str, *what: Any, **how: Any) -> tuple[dict[str, Any], Any]:
        """(what it answered, when) to a request about pods; ProviderError in its words."""
        cluster = self._cluster
        call: Callable[..., Any] = getattr(cluster.api, f"{verb}_namespaced_pod")
        try:
            answer = call(*what, cluster.namespace, **how, _preload_content=False, _request_timeout=TIMEOUT)
            found = json.loads(answer.data)
        except cluster.errors as error:
            raise _refusal(error) from error
        except ValueError as error:
            raise ProviderError(f"the cluster answered what cannot be understood: {said(str(error))}") from error
        if not isinstance(found, dict):
            raise ProviderError("the cluster answered what cannot be understood")
        return found, answer.headers.get("Date", "")

    def _owner(self) -> str:
        """What the pods of this endpoint are told by: several may share a namespace, and paths that look the same."""
        path = self._blocks.parent / "kubernetes-owner"
        if not path.exists():
            fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
            fresh.write_text(secrets.token_hex(8))
            # Whoever comes second finds the first one's.
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
            fresh.unlink()
        return path.read_text().strip()

    def _pods(self, limit: int | None = None) -> tuple[dict[str, list[dict[str, Any]]], Any]:
        """(those of this endpoint by job, when that was)."""
        found, when = self._ask("list", label_selector=f"{pods.OWNER}={self._owner()}", limit=limit)
        by_job: dict[str, list[dict[str, Any]]] = {}
        try:
            for pod in found["items"]:
                by_job.setdefault(pod["metadata"]["labels"][pods.JOB], []).append(pod)
        except (KeyError, TypeError) as error:
            raise ProviderError(f"the cluster answered what cannot be understood: no {error} in its pods") from error
        return by_job, when

    def _delete(self, found: Sequence[dict[str, Any]]) -> None:
        for pod in found:
            try:
                self._ask("delete", pod["metadata"]["name"])
            except ProviderError as error:
                if getattr(error.__cause__, "status", 0) != _GONE:
                    raise

    # The interface.

    def look(self) -> None:
        """See whether it answers, and lets us see pods."""
        self._pods(limit=1)

    def offers(self) -> dict[str, list[str]]:
        """Nothing."""
        return {}

    def budgets(self) -> list[Budget]:
        """None."""
        return []

    def settings_of(self, allocation: str) -> Any:
        """See Provider. A walltime can be chosen."""
        choice = chosen(allocation) if allocation else {}
        for word in choice:
            if word != "walltime":
                raise UsageError(f"Kubernetes has no {word} that could be chosen")
        return self._settings.chosen(choice) if choice else self._settings

    def check(self, allocation: str = "") -> NodeSize:
        """See Provider: a pod is made of the settings, and held against the client's own models."""
        wanted = self.settings_of(allocation)
        if not wanted.kubernetes.image:
            raise UsageError(
                "c.Kubernetes.image must say what pods run: an image with jupyter-fx of this version; "
                "c.Blocks.python says which Python in it has it"
            )
        if not wanted.kubernetes.sees(self._blocks):
            raise UsageError(
                f"pods would not see the endpoint's directory {self._blocks.parent}: c.Kubernetes.volumes must mount "
                "the claim that it is in, at the same path; or set JUPYTER_FX_STATE_DIR to a directory in such a volume"
            )
        _valid(pods.manifest(wanted, "fx", 0, "true", self._blocks / "block", "owner"))
        return NodeSize(wanted.cores_per_node or 1, 1, int(wanted.memory_per_node * 2**30), wanted.gpus_per_node)

    def submit(self, spec: JobSpec) -> str:
        """All of its pods, or none; of one that was begun, those that are not there, as far as they can be had."""
        wanted, owner = self.settings_of(spec.allocation), self._owner()
        made: list[dict[str, Any]] = []
        there = {pod["metadata"]["name"] for pod in self._pods()[0].get(spec.name, ())} if spec.begun else set()
        try:
            for number in range(wanted.nodes):
                pod = pods.manifest(wanted, spec.name, number, spec.command, spec.folder, owner)
                if pod["metadata"]["name"] not in there:
                    made.append(pod)
                    self._ask_for(pod)
        except ProviderError:
            if spec.begun:
                # Those that are there may be at work; what is still missing is asked for again.
                raise
            # The last one may be there all the same: an answer can be lost.
            with contextlib.suppress(ProviderError):
                self._delete(made)
            raise
        return spec.name

    def _ask_for(self, pod: dict[str, Any]) -> None:
        model = _valid(pod)
        cluster = self._cluster
        try:
            cluster.api.create_namespaced_pod(
                cluster.namespace,
                model,
                field_validation="Strict",
                _preload_content=False,
                _request_timeout=TIMEOUT,
            )
        except cluster.errors as error:
            raise _refusal(error) from error

    def jobs(self) -> dict[str, JobInfo]:
        """See Provider. Pods stay where they ended: those of jobs that are over are removed, once they are told of."""
        by_job, when = self._pods()
        now = _time(when)
        found = {}
        for name, those in by_job.items():
            # One that is being deleted is as good as gone, but its name is not free yet.
            nodes = sum("deletionTimestamp" not in pod["metadata"] for pod in those)
            found[name] = info = job_of(name, those, now, self._blocks)._replace(nodes=nodes)
            if info.state in {"ended", "failed"}:
                with contextlib.suppress(ProviderError):
                    self._delete(those)
        return found

    def cancel(self, jobs: Sequence[str]) -> None:
        """See Provider."""
        by_job, _ = self._pods()
        for job in jobs:
            self._delete(by_job.get(job, []))


def _valid(pod: dict[str, Any]) -> Any:
    """The client's model of a pod; UsageError for what the settings put into it and no pod can have."""
    from kubernetes import client

    try:
        return client.V1Pod.model_validate(pod)
    except ValueError as error:
        told: Callable[[], list[dict[str, Any]]] = getattr(error, "errors", list)
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in told()[:3])
        raise UsageError(f"c.Kubernetes does not make a pod: {wrong or said(str(error))}") from error


def _refusal(error: Exception) -> ProviderError:
    """What the cluster said, or why nobody was reached."""
    body = getattr(error, "body", None)
    if body is None:
        return ProviderError(f"the cluster's API is not reached: {said(str(error))}")
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        if message := json.loads(body).get("message"):
            return ProviderError(said(str(message)))
    status, reason = getattr(error, "status", ""), getattr(error, "reason", "")
    return ProviderError(f"the cluster's API answered {status} {reason}".rstrip())


def job_of(name: str, those: Sequence[dict[str, Any]], now: datetime | None, blocks: Path) -> JobInfo:
    """What the pods of a job come to. `now`: the cluster's time; `blocks`: where they left their complaints."""
    phases = [pod.get("status", {}).get("phase", "Pending") for pod in those]
    if all(phase in _OVER for phase in phases):
        failed = [pod for pod, phase in zip(those, phases, strict=True) if phase == "Failed"]
        reason = next((why for pod in failed if (why := _ended(pod, blocks))), "")
        late = all(pod["status"].get("reason") == "DeadlineExceeded" for pod in failed)
        return JobInfo(name, name, "ended" if late else "failed", reason)
    if all(phase == "Pending" for phase in phases):
        return JobInfo(name, name, "pending", next((why for pod in those if (why := _waits(pod))), ""))
    left = [seconds for pod in those if (seconds := _left(pod, now)) >= 0.0]
    return JobInfo(name, name, "running", left=min(left, default=-1.0))


def _time(date: str) -> datetime | None:
    """Of the header of an answer; None for what is no time."""
    try:
        return parsedate_to_datetime(date)
    except ValueError:
        return None


def _left(pod: dict[str, Any], now: datetime | None) -> float:
    """Seconds until its deadline; -1.0: not known."""
    began, limit = pod["status"].get("startTime"), pod["spec"].get("activeDeadlineSeconds")
    if now is None or not began or not limit or pod["status"].get("phase") in _OVER:
        return -1.0
    return max(0.0, float(limit) - (now - datetime.fromisoformat(began)).total_seconds())


def _container(pod: dict[str, Any], state: str) -> dict[str, Any]:
    for one in pod.get("status", {}).get("containerStatuses") or ():
        if found := one.get("state", {}).get(state):
            return dict(found)
    return {}


def _waits(pod: dict[str, Any]) -> str:
    """Why it does not run yet."""
    status = pod.get("status", {})
    waiting = _container(pod, "waiting")
    if reason := waiting.get("reason", ""):
        cure = "; c.Kubernetes.image and image_pull_secrets say what is pulled" if reason in _IMAGE else ""
        return _two(reason, waiting.get("message", "")) + cure
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return _two(one.get("reason", ""), one.get("message", ""))
    return _two(status.get("reason", ""), status.get("message", ""))


def _ended(pod: dict[str, Any], blocks: Path) -> str:
    """Why it failed."""
    done = _container(pod, "terminated")
    if reason := pod["status"].get("reason", ""):
        return _two(reason, pod["status"].get("message", ""))
    complaint = done.get("message", "")
    if not complaint:
        with contextlib.suppress(OSError):
            folder = blocks / pod["metadata"]["labels"][pods.BLOCK]
            complaint = pods.stderr_of(folder, pod["metadata"]["name"]).read_text(errors="replace")[-2000:]
    status = f" with status {done['exitCode']}" if "exitCode" in done else ""
    return _two(f"{done.get('reason', 'it failed')}{status}", complaint)


def _two(reason: str, message: str) -> str:
    text = said(message).rstrip(". ") if message.strip() else ""
    return f"{reason}: {text}" if reason and text else reason or text
