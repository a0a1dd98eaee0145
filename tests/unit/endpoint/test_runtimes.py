"""One contract for every container runtime, whether it can be run here or not."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import pytest

from jupyter_fx.endpoint import environments
from jupyter_fx.endpoint.runtimes import images
from jupyter_fx.endpoint.runtimes.command import NAMES, RUNTIMES, Mount, Runtime, Start
from jupyter_fx.endpoint.runtimes.faults import explain
from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
from jupyter_fx.errors import UsageError

PROGRAM = ("python3", "-s", "-c", "import sys; print('$HOME; `id`')")
IMAGES = {"directory": "/images/torch", "squashfs": "/images/torch.sqfs", "sif": "/images/torch.sif"}
BY_NAME = {one.name: one for one in RUNTIMES}


def start(runtime: Runtime, **more: object) -> Start:
    image = IMAGES.get(runtime.kinds[0], "docker.io/library/python:3.12")
    mounts = (Mount("/node/tmp", "/tmp"), Mount("/node/tree", "/tmp/.jupyter-fx/tree", readonly=True))
    given: dict[str, object] = {"image": image, "program": PROGRAM, "mounts": mounts, "name": "jupyter-fx-a-1"}
    return Start(**{**given, "labels": {"org.jupyter-fx.manager": "a"}, **more})  # type: ignore[arg-type] - a test's


every = pytest.mark.parametrize("runtime", RUNTIMES, ids=NAMES)


@every
def test_the_program_is_the_end_of_the_arguments_and_no_shell_reads_it(runtime: Runtime) -> None:
    words = runtime.command(start(runtime))
    assert words[0] == runtime.program
    assert words[-3:] == list(PROGRAM[1:])
    assert "python3" in words[-4] or "--entrypoint=python3" in words
    assert not {"sh", "bash", "-lc"} & set(words)
    assert start(runtime).image in words[:-3] or f"--image={start(runtime).image}" in words


@every
def test_mounts_are_said_and_the_worker_tree_is_read_only_where_the_runtime_can(runtime: Runtime) -> None:
    words = runtime.command(start(runtime))
    text = " ".join(words)
    assert "/node/tmp" in text
    if runtime.name in {"charliecloud", "shifter"}:
        assert "/node/tree:/tmp/.jupyter-fx/tree" in text
        assert ":ro" not in text
    elif runtime.name == "bubblewrap":
        assert "--ro-bind /node/tree /tmp/.jupyter-fx/tree" in text
        assert "--bind /node/tmp /tmp" in text
    else:
        assert "/node/tree:/tmp/.jupyter-fx/tree:ro" in text
        assert "/node/tmp:/tmp " in text


@every
def test_no_variable_of_the_environment_stands_in_the_arguments(runtime: Runtime) -> None:
    words = runtime.command(start(runtime, home="/home/ada"))
    assert not [word for word in words if word in {"-e", "--env", "--setenv", "--env-file"}]
    assert not [word for word in words[:-1] if word.startswith(("--env=", "--set-env="))]


@every
def test_nothing_is_fetched_unless_its_owner_says_so(runtime: Runtime) -> None:
    if runtime.exists:
        assert "--pull=never" in runtime.command(start(runtime))
        assert "--pull=missing" in runtime.command(start(runtime, pull=True))
    else:
        assert runtime.command(start(runtime)) == runtime.command(start(runtime, pull=True))


@every
def test_what_outlives_its_starter_is_found_by_its_label_and_removed(runtime: Runtime) -> None:
    listing = runtime.leftovers({"org.jupyter-fx.manager": "a"})
    if runtime.name in {"podman", "docker"}:
        words = runtime.command(start(runtime))
        assert words[words.index("--label") + 1] == "org.jupyter-fx.manager=a"
        assert "--rm" in words
        assert listing[-1] == "label=org.jupyter-fx.manager=a"
        assert "--all" in listing
        assert runtime.remove(["x", "y"])[:3] == [runtime.program, "rm", "--force"]
        assert runtime.remove(["x", "y"])[-2:] == ["x", "y"]
    else:
        assert listing == []


@every
def test_the_owners_options_stand_in_front_of_the_image(runtime: Runtime) -> None:
    words = runtime.command(start(runtime, options=("--shm-size=8g",)))
    at = words.index("--shm-size=8g")
    assert at < len(words) - 3
    if runtime.name not in {"bubblewrap", "shifter"}:
        assert at < words.index(start(runtime).image)


@every
@pytest.mark.parametrize("bad", ["/data:rw", "/a,b", "/a\nb"])
def test_a_path_that_options_cannot_say_is_refused(runtime: Runtime, bad: str) -> None:
    with pytest.raises(UsageError, match="cannot be mounted"):
        runtime.command(start(runtime, mounts=(Mount(bad, "/data"),)))


def test_the_command_lines_that_cannot_be_run_here_are_these() -> None:
    tmp = "/node/tmp:/tmp"
    tree = "/node/tree:/tmp/.jupyter-fx/tree"
    program = list(PROGRAM)
    assert BY_NAME["apptainer"].command(start(BY_NAME["apptainer"], gpus=True, home="/home/ada")) == [
        *[
            "apptainer",
            "exec",
            "--contain",
            "--cleanenv",
            "--pid",
            "--pwd",
            "/",
            "--home",
            "/home/ada",
            "--nv",
            "--bind",
        ],
        *(tmp, "--bind", f"{tree}:ro", "/images/torch.sif", *program),
    ]
    assert BY_NAME["singularity"].command(start(BY_NAME["singularity"])) == [
        *["singularity", "exec", "--contain", "--cleanenv", "--pid", "--pwd", "/", "--no-home", "--bind"],
        *(tmp, "--bind", f"{tree}:ro", "/images/torch.sif", *program),
    ]
    assert BY_NAME["docker"].command(start(BY_NAME["docker"], gpus=True)) == [
        *["docker", "run", "--gpus=all", "--rm", "--pull=never", "--log-driver=none", "--network=host"],
        *(f"--user={os.getuid()}:{os.getgid()}", "--workdir=/", "--name", "jupyter-fx-a-1"),
        *("--label", "org.jupyter-fx.manager=a", "--volume", tmp, "--volume", f"{tree}:ro"),
        *("--entrypoint=python3", "docker.io/library/python:3.12", *program[1:]),
    ]
    assert BY_NAME["shifter"].command(start(BY_NAME["shifter"])) == [
        *("shifter", "--image=docker.io/library/python:3.12", "--workdir=/"),
        *(f"--volume={tmp}", f"--volume={tree}"),
        *program,
    ]


def test_home_is_where_the_runtime_puts_it() -> None:
    places = {name: runtime.home("/home/site/ada") for name, runtime in BY_NAME.items()}
    assert places["charliecloud"] == "/home/ada"
    assert places["podman"] == "/home/site/ada"
    assert places["bubblewrap"] == ""
    assert PurePosixPath(places["apptainer"]).is_absolute()


# Names.


@pytest.mark.parametrize("name", ["-v", "--privileged", "", " x", "a\nb", "a b", "podman:", "x;y", "$(id)", "a\x00b"])
def test_what_can_be_no_image_is_refused_before_any_program_sees_it(name: str) -> None:
    with pytest.raises(UsageError, match="is no image"):
        images.split(name)


def test_a_runtime_may_stand_in_front_of_the_image() -> None:
    assert images.split("podman:localhost/x:1") == ("podman", "localhost/x:1")
    assert images.split("localhost:5000/x") == ("", "localhost:5000/x")
    assert images.split("/images/with space.sqfs") == ("", "/images/with space.sqfs")


@pytest.mark.parametrize(
    ("kind", "present", "chosen"),
    [
        ("directory", {"bubblewrap", "apptainer", "charliecloud"}, "charliecloud"),
        ("directory", {"bubblewrap", "podman"}, "bubblewrap"),
        ("sif", {"singularity", "apptainer"}, "apptainer"),
        ("reference", {"docker", "podman"}, "podman"),
        ("reference", {"shifter"}, "shifter"),
    ],
)
def test_auto_takes_what_is_installed_and_fits(kind: str, present: set[str], chosen: str) -> None:
    assert images.choose("x", kind, "", present).name == chosen


def test_what_cannot_be_started_here_is_said_with_what_would_do() -> None:
    with pytest.raises(
        UsageError, match=r"nothing here can start 'x.sif', which is a sif: it needs apptainer or singu"
    ):
        images.choose("x.sif", "sif", "", {"podman"})
    with pytest.raises(UsageError, match=r"podman cannot start '/x', which is a directory: it takes a reference"):
        images.choose("/x", "directory", "podman", {"podman"})
    with pytest.raises(UsageError, match=r"apptainer \(apptainer\) is not installed"):
        images.choose("x.sif", "sif", "apptainer", {"podman"})
    with pytest.raises(UsageError, match=r"no container runtime 'podmann': did you mean 'podman'"):
        images.choose("x", "reference", "podmann", {"podman"})


@pytest.mark.parametrize(
    ("kind", "wanted", "present", "cure"),
    [
        ("sif", "", {"charliecloud"}, "install Apptainer there, or unpack it where Apptainer is"),
        ("sif", "charliecloud", {"charliecloud"}, "takes a directory or a squashfs; install Apptainer there"),
        ("squashfs", "podman", {"podman", "charliecloud"}, "it takes a reference; charliecloud can"),
        ("squashfs", "", {"podman", "bubblewrap"}, "or unpack it (`unsquashfs -d DIRECTORY FILE`)"),
        ("reference", "", {"charliecloud"}, "install Podman there, or name a directory"),
    ],
)
def test_a_runtime_that_lacks_comes_with_a_cure(kind: str, wanted: str, present: set[str], cure: str) -> None:
    with pytest.raises(UsageError, match=re.escape(cure)):
        images.choose("x", kind, wanted, present)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"hsqs" + bytes(100), "squashfs"),
        (b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + bytes(100), "sif"),
        (b"#!/usr/bin/env run-singularity\nhsqs" + bytes(100), "sif"),
    ],
)
def test_an_image_is_known_by_how_it_begins_whatever_it_is_called(tmp_path: Path, head: bytes, kind: str) -> None:
    program = {"squashfs": "ch-run", "sif": "apptainer"}[kind]
    (tmp_path / program).touch()
    (tmp_path / program).chmod(0o755)
    (tmp_path / "torch.img").write_bytes(head)
    found = environments.find("torch.img", ContainerSpec(folders=[str(tmp_path)]), {"PATH": str(tmp_path)})
    assert (found.kind, found.place) == (kind, str(tmp_path / "torch.img"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("torch.def", b"# for the GPUs\nBootstrap: docker\nFrom: python\n", "a definition, of which an image is built"),
        ("Dockerfile", b"\nFROM python:3.12\n", "a definition"),
        ("torch.tar", bytes(257) + b"ustar" + bytes(200), "an archive: `podman load"),
        ("torch.tar.gz", b"\x1f\x8b\x08", "an archive"),
        ("torch.sqfs", b"<html>404", "no SquashFS and no SIF file, going by how it begins"),
        ("empty.sif", b"", "damaged or incomplete"),
    ],
)
def test_a_file_that_is_no_image_is_said_to_be_what_it_is(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(said)):
        environments.find(str(tmp_path / name), ContainerSpec(), {"PATH": "/usr/bin"})


def test_a_url_is_no_image() -> None:
    with pytest.raises(UsageError, match=r"'docker://python:3.12' is a URL and no image: .*docker.io/library/python"):
        images.split("docker://python:3.12")


def test_an_allow_list_admits_by_name_path_and_digest() -> None:
    digest = "blake3:" + "0" * 64
    assert images.permitted(["anything"], "?", [])
    assert images.permitted(["/apps/images/torch.sqfs"], "?", ["/apps/images/*.sqfs"])
    assert not images.permitted(["/apps/images/../../home/eve/x.sqfs"], "?", ["/apps/images/*.sqfs"])
    assert images.permitted(["x"], digest, [digest])
    assert images.permitted(["x"], "", [digest])
    assert not images.permitted(["x"], "?", [digest])
    assert not images.permitted(["x"], "blake3:" + "1" * 64, [digest])
    # A name that looks like an entry by digest does not stand for one.
    assert not images.permitted([digest], "?", [digest])


# Faults: what the runtimes really said.


@pytest.mark.parametrize(
    ("status", "said", "sentence"),
    [
        (
            1,
            "ch-run[7]: error: can't execve(2): python3: No such file or directory (ch_core.c:410 2)",
            "has no 'python3'",
        ),
        (
            127,
            (
                'Error: runc: runc create failed: unable to start container process: exec: "python3": executable file '
                "not found in $PATH: OCI runtime attempted to invoke a command that was not found"
            ),
            "has no 'python3'",
        ),
        (1, "bwrap: execvp python3: No such file or directory", "has no 'python3'"),
        (255, 'FATAL: "python3": executable file not found in $PATH', "has no 'python3'"),
        (78, "a warning\njupyter-fx: this is Python 3.6.8", "has Python 3.6.8, and jupyter-fx needs 3.9 or newer"),
        (1, "exec /usr/bin/python3: exec format error", "another kind of processor: this node is a x86_64"),
        (2, '/usr/local/bin/python3: 1: Syntax error: "(" unexpected', "another kind of processor"),
        (None, "", "did not come up within 5 s and was stopped (c.Containers.start_seconds"),
        (1, "fuse: device not found, try 'modprobe fuse' first", "cannot be mounted on this node"),
        (
            1,
            "fuse: failed to open /dev/fuse: Permission denied\nch-run[7]: error: too many FUSE errors; giving up",
            "on this node: fuse: failed to open /dev/fuse: Permission denied; it needs FUSE, with a /dev/fuse that",
        ),
        (
            1,
            "fuse: mount failed: Invalid argument\nch-run[5]: error: too many FUSE errors; giving up",
            "`unsquashfs -d DIR",
        ),
        (
            1,
            "ch-run[8]: error: this ch-run does not support internal SquashFS mounts (ch-run.c:204)",
            "the ch-run of this node was built without them: unpack it",
        ),
        (
            1,
            "Something went wrong trying to read the squashfs image.\nch-run[7]: error: can't open SquashFS: x.sqfs",
            "is damaged or incomplete: copy it again",
        ),
        (1, "ch-run[7]: error: can't bind: destination not found: /i/d/dev (ch_core.c:1)", "to mount on (/i/d/dev)"),
        (1, "bwrap: Can't mkdir /data: Read-only file system", "has no directory to mount on (/data)"),
        (1, "ch-run[9]: error: can't bind: source not found: /no (ch_core.c:104)", "this node has no /no, which is to"),
        (1, "bwrap: Can't find source path /no: No such file or directory", "this node has no /no, which is to"),
        (3, "first\n\nlast words\n", "cannot be started (status 3); it said: last words"),
        (3, "", "cannot be started (status 3): it said nothing"),
    ],
)
def test_a_container_that_did_not_come_up_is_explained_in_one_sentence(
    status: int | None, said: str, sentence: str
) -> None:
    found = explain("torch.sqfs", "python3", "x86_64", status, said, waited=5.0)
    assert found.startswith("image torch.sqfs ")
    assert sentence in found
    assert "\n" not in found
