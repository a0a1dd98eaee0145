"""A real Jupyter server with our extension, for tests: what its users ask of it and what its kernels print."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

DEADLINE = 60.0
CONFIG = {"ServerApp": {"jpserver_extensions": {"jupyter_fx": True}}}


def eventually(look: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"it never came to pass: {what}")


class Server:
    def __init__(self, folder: Path, *more: str, env: dict[str, str] | None = None) -> None:
        self.log = folder / "server.log"
        config = folder / "jupyter_server_config.json"
        config.write_text(json.dumps(CONFIG))
        own = {**os.environ, **(env or {}), "JUPYTER_RUNTIME_DIR": str(folder / "run")}
        command = [sys.executable, "-m", "jupyter_server", f"--config={config}", "--ServerApp.ip=127.0.0.1"]
        command += ["--ServerApp.port=0", "--no-browser", "--IdentityProvider.token=sesame", "--allow-root", *more]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=subprocess.STDOUT)
        self.folder = folder
        self.url = eventually(self._address, "the server listens")["url"]

    def _address(self) -> Any:
        assert self.process.poll() is None, self.log.read_text()
        for file in (self.folder / "run").glob("jpserver-*.json"):
            try:
                found = json.loads(file.read_text())
                # The server writes its file before it listens.
                socket.create_connection(("127.0.0.1", found["port"]), timeout=5).close()
            except (ValueError, ConnectionRefusedError):
                return None
            return found
        return None

    def ask(self, path: str, method: str = "GET", body: Any = None, *, token: str = "sesame") -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {token}"} if token else {},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else text.decode()

    def start_kernel(self) -> str:
        status, kernel = self.ask("api/kernels", "POST", {"name": "python3"})
        assert status == 201
        return str(kernel["id"])

    def run(self, kernel_id: str, code: str) -> str:
        """Run code in a kernel; returns its stdout and errors."""
        url = self.url.replace("http", "ws") + f"api/kernels/{kernel_id}/channels"
        header = {
            "msg_id": os.urandom(8).hex(),
            "msg_type": "execute_request",
            "session": "s",
            "username": "",
            "version": "5.3",
            "date": "",
        }
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        text = ""
        with connect(url, additional_headers={"Authorization": "token sesame"}, max_size=None) as link:
            link.send(
                json.dumps(
                    {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
                )
            )
            while True:
                message = json.loads(link.recv(timeout=DEADLINE))
                if message["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                kind, said = message["msg_type"], message["content"]
                if kind == "stream":
                    text += said["text"]
                elif kind == "error":
                    text += "\n".join(said["traceback"])
                elif kind == "status" and said["execution_state"] == "idle":
                    return text

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
