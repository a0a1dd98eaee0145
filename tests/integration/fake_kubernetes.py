"""A stand-in for the API server of a Kubernetes cluster, which cannot be had here: the few routes of pods that we use,
on loopback, in this process. Behind each pod that "runs" is a real process of this machine, in the environment that
its manifest says and nothing else, the first one of its namespace as in a pod where this machine lets us make one;
volumes are this machine's directories. It was written after the API's reference and is as strict as that: a field that
a pod does not have, a label or a name that is none, a wrong token are refused in the words that clusters are known to
use. No image is pulled, and nobody's rights or resources are limited.

What a cluster may be short of is set by attributes; `kubeconfig` is the file to reach it by.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
from kubernetes import client

TOKEN = "a-token"
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
LABEL = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
ROUTE = re.compile(r"/api/v1/namespaces/([^/]+)/pods(?:/([^/]+))?")


ALONE = ("unshare", "--pid", "--fork", "--mount-proc")
"""Makes a command the first process that there is, for itself."""


class Refused(Exception):
    """A status of the API: code, reason, message."""


class Cluster:
    """See the module. Of use as a context manager: its server and all its pods end with it."""

    def __init__(self, folder: Path) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.short = ""
        """Why the cluster's scheduler finds no node; empty: it does."""
        self.unpulled: set[str] = set()
        """Images that cannot be pulled."""
        self.alone = subprocess.run([*ALONE, "true"], capture_output=True, check=False, timeout=20).returncode == 0
        self.quota = 100
        """Pods that the namespace may have."""
        self.grace = 15.0
        """Seconds that pods have to end by themselves."""
        self.temporary = folder
        """Stands for the /tmp that each pod has for itself."""
        self.posted: list[dict[str, Any]] = []
        self.held = 0
        """The POST that is held, counted from 1, before anything comes of it (`late`: or after); 0: none is."""
        self.late = False
        self.holding, self.release = threading.Event(), threading.Event()
        self.posts = 0
        self.ending: list[threading.Thread] = []
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"cluster": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.kubeconfig = folder / "kubeconfig"
        self.write(TOKEN)

    def write(self, token: str) -> None:
        """The kubeconfig, with this token. (JSON is YAML.)"""
        parts = {
            "clusters": [{"name": "here", "cluster": {"server": self.address}}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "ctx", "context": {"cluster": "here", "user": "me", "namespace": "science"}}],
        }
        self.kubeconfig.write_text(
            json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "ctx", **parts})
        )
        self.kubeconfig.chmod(0o600)

    def __enter__(self) -> Cluster:
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        with self.lock:
            for name in list(self.pods):
                self.delete(name)
            ending = list(self.ending)
        for one in ending:
            one.join()

    def hold(self, number: int, *, late: bool) -> None:
        """Hold the POST of this number, counted from now, until `release` is set; `holding` tells that it came."""
        self.posts, self.held, self.late = 0, number, late
        self.holding.clear()
        self.release.clear()

    def wait(self, *, late: bool) -> None:
        """Of a POST: as long as it is held."""
        if self.posts == self.held and self.late is late and not self.release.is_set():
            self.holding.set()
            self.release.wait(60.0)

    # Pods.

    def create(self, pod: dict[str, Any], *, strict: bool) -> dict[str, Any]:
        name = pod["metadata"]["name"]
        try:
            client.V1Pod.model_validate(pod)
        except ValueError as error:
            raise Refused(400, "BadRequest", f"strict decoding error: {error}" if strict else str(error)) from error
        labels = pod["metadata"].get("labels", {})
        wrong = [one for one in (*labels, *labels.values()) if not LABEL.fullmatch(one)]
        if not NAME.fullmatch(name) or wrong:
            raise Refused(422, "Invalid", f'Pod "{name}" is invalid: metadata: Invalid value: "{(wrong or [name])[0]}"')
        if name in self.pods:
            raise Refused(409, "AlreadyExists", f'pods "{name}" already exists')
        if len(self.pods) >= self.quota:
            said = f"exceeded quota: pods, requested: pods=1, used: pods={len(self.pods)}, limited: pods={self.quota}"
            raise Refused(403, "Forbidden", f'pods "{name}" is forbidden: {said}')
        self.posted.append(json.loads(json.dumps(pod)))
        pod["metadata"] |= {"uid": str(uuid.uuid4()), "namespace": "science", "creationTimestamp": now()}
        pod["status"] = {"phase": "Pending"}
        self.pods[name] = pod
        return pod

    def step(self, pod: dict[str, Any]) -> None:
        """What scheduler and kubelet would have done by now."""
        name, status, container = pod["metadata"]["name"], pod["status"], pod["spec"]["containers"][0]
        if status["phase"] == "Pending" and self.short:
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": self.short}
            status["conditions"] = [condition]
        elif status["phase"] == "Pending" and container["image"] in self.unpulled:
            waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{container["image"]}"'}
            status |= {"startTime": now(), "conditions": [], "containerStatuses": [self.state(waiting=waiting)]}
        elif status["phase"] == "Pending":
            self.processes[name] = self.begin(container)
            status |= {"phase": "Running", "startTime": now(), "conditions": []}
            status["containerStatuses"] = [self.state(running={"startedAt": now()})]
        elif status["phase"] == "Running" and (code := self.processes[name].poll()) is not None:
            code = code if code >= 0 else 128 - code
            done = {"exitCode": code, "reason": "Error" if code else "Completed"}
            status |= {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [self.state(terminated=done)],
            }

    @staticmethod
    def state(**state: Any) -> dict[str, Any]:
        return {"name": "manager", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}

    def begin(self, container: dict[str, Any]) -> subprocess.Popen[bytes]:
        command = [*(ALONE if self.alone else ()), *container["command"]]
        env = {"PATH": os.environ["PATH"], "TMPDIR": str(self.temporary)}
        for one in container["env"]:
            if "value" in one:
                env[one["name"]] = one["value"]
            else:
                assert one["valueFrom"]["resourceFieldRef"]["resource"] == "limits.memory"
                limit = container["resources"]["limits"].get("memory", "65536Mi")
                env[one["name"]] = str(int(limit.removesuffix("Mi")) << 20)
        return subprocess.Popen(
            command, env=env, cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def delete(self, name: str) -> dict[str, Any]:
        pod = self.pods.get(name)
        if pod is None:
            raise Refused(404, "NotFound", f'pods "{name}" not found')
        if "deletionTimestamp" in pod["metadata"]:
            return pod
        pod["metadata"]["deletionTimestamp"] = now()
        if name in self.processes:
            thread = threading.Thread(target=self.end, args=(name,))
            self.ending.append(thread)
            thread.start()
        else:
            del self.pods[name]
        return pod

    def end(self, name: str) -> None:
        """As a kubelet does: SIGTERM to the first process, later SIGKILL to all."""
        process = self.processes[name]
        with contextlib.suppress(psutil.Error):
            there = psutil.Process(process.pid)
            for first in there.children() if self.alone else [there]:
                first.terminate()
        try:
            process.wait(self.grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with self.lock:
            del self.pods[name], self.processes[name]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if post := self.command == "POST":
            self.cluster.posts += 1
            self.cluster.wait(late=False)
        try:
            with self.cluster.lock:
                code, said = self._found(url.path, query, json.loads(body) if body else None)
        except Refused as error:
            code, reason, message = error.args
            said = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
        if post:
            self.cluster.wait(late=True)
        data = json.dumps(said).encode()
        with contextlib.suppress(OSError):  # who asked may be gone
            self._say(code, data)

    def _say(self, code: int, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _found(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        match = ROUTE.fullmatch(path)
        if match is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        namespace, name = match.groups()
        if namespace != "science":
            what = f'cannot {self.command.lower()} resource "pods" in API group "" in the namespace "{namespace}"'
            raise Refused(403, "Forbidden", f'pods is forbidden: User "me" {what}')
        if self.command == "POST":
            return 201, self.cluster.create(body, strict=query.get("fieldValidation") == "Strict")
        if self.command == "DELETE":
            return 200, self.cluster.delete(name)
        key, _, value = query["labelSelector"].partition("=")
        items = [pod for pod in self.cluster.pods.values() if pod["metadata"]["labels"].get(key) == value]
        for pod in items:
            self.cluster.step(pod)
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815


def wait_for(true: Any, seconds: float = 30.0) -> None:
    """Until it is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
