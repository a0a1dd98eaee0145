"""How a manager process and its agent come to trust each other: files in `blocks/ID/` (0700, each file 0600).

The agent puts a `secret` there and, whenever it listens, `agent.json` (address, server key). A manager makes its key
pair where it runs and enrols the public key: a file `keys/NONCE.json` with an HMAC of the secret over (block, host,
nonce, key). ZAP admits a key only when such a file verifies. The secret is deleted with the block.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import NamedTuple

import msgspec

from jupyter_fx.paths import own_dir, private_dir

__all__ = ["AgentAddress", "Block", "Enrolled", "ManagerProcess"]


class AgentAddress(msgspec.Struct):
    """Where the agent listens now, and its CURVE key."""

    address: str
    key: str
    others: list[str] = []
    """Other addresses of the same agent, to be tried in turn."""


class ManagerProcess(msgspec.Struct):
    """The manager's process: its pid and when it began, since pids are used again."""

    pid: int
    started: float


class _Enrolment(msgspec.Struct):
    host: str
    nonce: str
    key: str
    proof: str


class Enrolled(NamedTuple):
    """A manager that the block's secret vouches for."""

    manager: str
    host: str
    key: str


class _Gone(msgspec.Struct):
    """The word of a node's keeper that a manager there has ended, and everything that it had started."""

    manager: str
    why: str
    proof: str


def _file_of(key: str) -> str:
    """The name of a key's file: it is looked for by the key, among thousands."""
    return hashlib.sha256(key.encode()).hexdigest()[:32] + ".json"


class Block:
    """One block's directory. Only its agent makes one (`make`): whoever else comes to a block that is over gets
    FileNotFoundError, and leaves nothing where it was."""

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        self.folder = private_dir(folder) if make else own_dir(folder)
        self._keys = folder / "keys"
        self._gone = folder / "gone"
        if make:
            private_dir(self._keys)
            private_dir(self._gone)

    @property
    def name(self) -> str:
        """The block's id."""
        return self.folder.name

    def _write(self, path: Path, data: bytes, *, sync: bool = False) -> None:
        fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)

    def make_secret(self) -> None:
        """The agent, once."""
        if not (self.folder / "secret").exists():
            self._write(self.folder / "secret", secrets.token_bytes(32))

    def announce(self, address: AgentAddress) -> None:
        """The agent, each time that it listens."""
        self._write(self.folder / "agent.json", msgspec.json.encode(address))

    def agent(self) -> AgentAddress | None:
        """Where the agent was last said to be."""
        try:
            return msgspec.json.decode((self.folder / "agent.json").read_bytes(), type=AgentAddress)
        except (OSError, msgspec.MsgspecError):
            return None

    def _proof(self, host: str, nonce: str, key: str) -> str:
        secret = (self.folder / "secret").read_bytes()
        said = msgspec.json.encode([self.name, host, nonce, key])
        return hmac.new(secret, said, hashlib.sha256).hexdigest()

    def enrol(self, key: str, manager: str = "", host: str = "") -> None:
        """A manager, once: say whose public key this is. Its id is the nonce."""
        host, nonce = host or socket.gethostname(), manager or secrets.token_hex(16)
        said = _Enrolment(host, nonce, key, self._proof(host, nonce, key))
        self._write(self._keys / _file_of(key), msgspec.json.encode(said))

    def admits(self, key: str) -> bool:
        """The agent: whether this public key was enrolled by somebody who knows the secret."""
        return self.enrolment(key) is not None

    def enrolment(self, key: str) -> Enrolled | None:
        """The agent: who enrolled this public key, if it was somebody who knows the secret."""
        path = self._keys / _file_of(key)
        return self._read(path) if path.exists() else None

    def enrolled(self) -> list[Enrolled]:
        """The agent: the managers that somebody enrolled who knows the secret."""
        found = map(self._read, self._keys.glob("[0-9a-f]*.json"))
        return [one for one in found if one is not None]

    def _read(self, path: Path) -> Enrolled | None:
        try:
            said = msgspec.json.decode(path.read_bytes(), type=_Enrolment)
            proof = self._proof(said.host, said.nonce, said.key)
        except (OSError, msgspec.MsgspecError):
            return None
        sound = hmac.compare_digest(said.proof, proof) and path.name == _file_of(said.key)
        return Enrolled(said.nonce, said.host, said.key) if sound else None

    def complain(self, why: str) -> None:
        """On a node: why no manager comes."""
        self._write(self.folder / "complaint", why.encode())

    def complaint(self) -> str:
        """The agent: what a node said of that."""
        try:
            return (self.folder / "complaint").read_text(errors="replace")[:1000]
        except OSError:
            return ""

    def tell_gone(self, manager: str, why: str) -> None:
        """A node's keeper: this manager is dead, and so is all that it started. The secret vouches for it."""
        said = _Gone(manager, why, self._proof("gone", manager, why))
        self._write(self._gone / f"{manager}.json", msgspec.json.encode(said))

    def gone(self) -> dict[str, str]:
        """The agent: managers of which their keepers said that they are dead, and why."""
        found = {}
        for path in self._gone.glob("*.json"):
            try:
                said = msgspec.json.decode(path.read_bytes(), type=_Gone)
                if hmac.compare_digest(said.proof, self._proof("gone", said.manager, said.why)):
                    found[said.manager] = said.why
            except (OSError, msgspec.MsgspecError):
                continue
        return found

    def put(self, name: str, data: bytes) -> None:
        """The agent: a file of the block."""
        self._write(self.folder / name, data)

    def save(self, record: bytes) -> None:
        """The agent: the block's record, on disk when this returns."""
        self._write(self.folder / "block.json", record, sync=True)

    def manager(self) -> ManagerProcess | None:
        """The process that said that it is this block's manager."""
        try:
            return msgspec.json.decode((self.folder / "manager.json").read_bytes(), type=ManagerProcess)
        except (OSError, msgspec.MsgspecError):
            return None

    def is_manager(self, process: ManagerProcess) -> None:
        """A manager: this is my process."""
        self._write(self.folder / "manager.json", msgspec.json.encode(process))

    def delete(self) -> None:
        """The block has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
