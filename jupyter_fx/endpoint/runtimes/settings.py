"""What an endpoint's owner may set about containers: `c.Containers.…` in the endpoint's `config.py`."""

from __future__ import annotations

import msgspec
from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode
from traitlets.config import Configurable

from jupyter_fx.endpoint.runtimes.command import NAMES

__all__ = ["ContainerSpec", "Containers"]


class ContainerSpec(msgspec.Struct, kw_only=True, frozen=True):
    """The same as data, for a manager on another node. See `Containers` for what each means."""

    runtime: str = "auto"
    images: list[str] = []
    folders: list[str] = []
    python: str = "python3"
    data: list[str] = []
    home: bool = True
    scratch: str = ""
    options: dict[str, list[str]] = {}
    pull: bool = False
    build: str = "auto"
    build_options: dict[str, list[str]] = {}
    gpus: bool = False
    start_seconds: float = 120.0
    idle_seconds: float = 900.0
    most: int = 16
    memory_reserve_mb: int = 512
    single_use: list[str] = []
    preload: dict[str, list[str]] = {}


class Containers(Configurable):
    """The settings of an endpoint's containers."""

    runtime = Enum(
        ["auto", *NAMES], "auto", help="What starts images. auto: what is installed and takes the image's form."
    ).tag(config=True)
    images = List(
        Unicode(),
        help="Images that may be used, as patterns of names and paths ('/apps/images/*.sqfs') or digests "
        "('sha256:…', 'blake3:…'). Empty: any.",
    ).tag(config=True)
    folders = List(Unicode(), help="Folders in which images are looked for by name.").tag(config=True)
    python = Unicode("python3", help="The Python inside images: a name on its PATH, or a path.").tag(config=True)
    data = List(
        Unicode(), help="Directories seen inside as well: '/data', '/scratch/me:/scratch' or '/refs:/refs:ro'."
    ).tag(config=True)
    home = Bool(True, help="Whether the home directory is seen inside (bubblewrap: never).").tag(config=True)
    scratch = Unicode(
        "", help="Where containers have their /tmp on the node. Empty: the node's own temporary directory."
    ).tag(config=True)
    options = Dict(
        key_trait=Unicode(),
        value_trait=List(Unicode()),
        help="Options added to a runtime's command line, say {'podman': ['--shm-size=8g']}.",
    ).tag(config=True)
    pull = Bool(False, help="Whether Podman and Docker may fetch an image that they do not have.").tag(config=True)
    build = Enum(
        ["auto", "always", "never"],
        "auto",
        help="Whether images are built from users' definitions (`--env Dockerfile`). auto: where `images` is empty. "
        "always: also where it is not; what a definition builds on or copies from must then be among them by name.",
    ).tag(config=True)
    build_options = Dict(
        key_trait=Unicode(),
        value_trait=List(Unicode()),
        help="Options added to a builder's command line, say {'charliecloud': ['--force']}.",
    ).tag(config=True)
    gpus = Bool(False, help="Whether the node's GPUs are given to containers (Podman, Docker, Apptainer).").tag(
        config=True
    )
    start_seconds = Float(120.0, min=1.0, help="Seconds that a container may take until its Python answers.").tag(
        config=True
    )
    idle_seconds = Float(900.0, min=0.0, help="Seconds without work after which a container is stopped.").tag(
        config=True
    )
    most = Int(16, min=1, help="Containers that one node keeps; the least used idle one makes room.").tag(config=True)
    memory_reserve_mb = Int(
        512, min=0, help="MiB of free memory below which idle containers are stopped. 0: never."
    ).tag(config=True)
    single_use = List(
        Unicode(), help="Patterns of images of which each task gets a container of its own, ended after it."
    ).tag(config=True)
    preload = Dict(
        key_trait=Unicode(),
        value_trait=List(Unicode()),
        help="Modules imported in advance, by pattern of image: {'*torch*': ['torch']}. "
        "Endpoint.preload is for the host only.",
    ).tag(config=True)

    def spec(self) -> ContainerSpec:
        """These settings as data."""
        return ContainerSpec(**{name: getattr(self, name) for name in ContainerSpec.__struct_fields__})
