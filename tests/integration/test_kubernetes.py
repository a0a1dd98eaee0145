"""Kubernetes by the contract of `test_batch_systems`, behind the stand-in of `fake_kubernetes`, whose pods are real
processes; manifests are held against the models of the API's client. Provider, agent and managers are the real ones.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

sys.path.insert(0, str(Path(__file__).parent))
from fake_endpoint_hub import AgentProcess, Hub, args, endpoint, unpack
from fake_kubernetes import Cluster, wait_for

from jupyter_fx.endpoint import configfile, pods, scheduler
from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.providers import JobSpec, ProviderError
from jupyter_fx.endpoint.providers.kubernetes import KubernetesProvider, job_of
from jupyter_fx.endpoint.settings import Blocks, load_blocks
from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import Demand, DemandItem, Resources

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")

IMAGE = "registry.example.org/fx:1"
CONFIG = f"""
c.Blocks.provider = "kubernetes"
c.Blocks.walltime = "00:10:00"
c.Blocks.cores_per_node = 2
c.Blocks.memory_per_node = 1.5
c.Blocks.max_blocks = 2
c.Blocks.poll_seconds = 0.5
c.Blocks.setup = ["export SET_UP=yes"]
c.Kubernetes.image = "{IMAGE}"
c.Kubernetes.volumes = {{"temporary": {tempfile.gettempdir()!r}}}
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with Cluster(tmp_path) as found:
        monkeypatch.setenv("KUBECONFIG", str(found.kubeconfig))
        yield found


def made(tmp_path: Path, **settings: Any) -> KubernetesProvider:
    """A provider; settings that begin with kube_ are those of pods."""
    kube = {"image": IMAGE, "volumes": {"home": str(tmp_path)}}
    kube |= {name[5:]: value for name, value in settings.items() if name.startswith("kube_")}
    own = {name: value for name, value in settings.items() if not name.startswith("kube_")}
    blocks = Blocks(provider="kubernetes", **{"walltime": "00:10:00", **own})
    for name, value in kube.items():
        setattr(blocks.kubernetes, name, value)
    (tmp_path / "blocks").mkdir(exist_ok=True)
    return KubernetesProvider(blocks, tmp_path / "blocks")


def spec(tmp_path: Path, command: str = "sleep 60", name: str = "fx1") -> JobSpec:
    folder = tmp_path / "blocks" / f"block-of-{name}"
    folder.mkdir(exist_ok=True)
    return JobSpec(name, command, folder)


# The whole of it.


def where() -> tuple[str, str | None]:
    return os.environ["SET_UP"], os.environ.get("KUBECONFIG")


async def contract(cluster: Cluster, hub: Hub, agent: AgentProcess) -> None:
    def info() -> dict[str, Any]:
        return hub.statuses[-1].info if hub.statuses else {}

    async def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, info()
            await asyncio.sleep(0.1)

    def wants(n: int, allocation: str = "") -> None:
        shape = f"a={allocation}" if allocation else ""
        hub.send(Demand([DemandItem(shape, n, Resources(allocation=allocation))] if n else []))

    async def runs() -> None:
        result = await hub.result(hub.lease(hub.task(hub.function(where), args()))[0])
        assert result.state == TaskState.SUCCEEDED, result
        assert unpack(result.payload) == ("yes", None), "nothing of the agent's environment comes with a pod"

    # What waits says why: no node has room, then no image is there.
    cluster.short, cluster.unpulled = "0/3 nodes are available: 3 Insufficient cpu.", {IMAGE}
    wants(1)
    await until(lambda: "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu" in info().get("why", ""))
    cluster.short = ""
    await until(lambda: f'ImagePullBackOff: Back-off pulling image "{IMAGE}"' in info()["why"])
    cluster.unpulled.clear()
    await until(lambda: info().get("managers") == 1 and info().get("slots", 0) >= 1)
    await runs()
    (pod,) = cluster.posted
    secrets = [path.read_bytes() for path in agent.home.glob("blocks/*/secret")]
    text = json.dumps(pod).encode()
    assert secrets
    assert not any(form in text for one in secrets for form in (one, one.hex().encode(), base64.b64encode(one)))
    # A submission that was cut off is found by its name, and what runs goes on without its agent.
    await agent.kill()
    (record,) = agent.home.glob("blocks/*/block.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "job": "", "state": 1}))
    await agent.start(KUBECONFIG=str(cluster.kubeconfig))
    await until(lambda: info().get("managers") == 1 and info().get("slots", 0) >= 1)
    await runs()
    assert len(cluster.posted) == 1
    # A quota: the cluster's own words.
    cluster.quota = 1
    short = "walltime=00:05:00"
    wants(1, short)
    await until(lambda: "refuses the job" in info().get("allocations", {}).get(short, ""))
    assert "exceeded quota: pods, requested: pods=1" in info()["allocations"][short]
    assert "next try in" in info()["allocations"][short]
    cluster.quota = 2
    await until(lambda: info().get("managers") == 2)
    assert cluster.posted[-1]["spec"]["activeDeadlineSeconds"] == 300
    # A pod that somebody deletes takes its manager with it.
    wants(0)
    with cluster.lock:
        cluster.delete(pod["metadata"]["name"])
    await until(lambda: info().get("managers") == 1)
    hub.send(Demand([]))
    # The end: nothing is left.
    (agent.home / "stop-for-good").touch()
    await agent.stop()
    await until(lambda: not cluster.pods, 20)
    assert not list((agent.home / "blocks").iterdir())


def test_the_contract_of_a_batch_system(cluster: Cluster) -> None:
    async def tell() -> None:
        async with endpoint(config=CONFIG, KUBECONFIG=str(cluster.kubeconfig)) as (hub, agent):
            await contract(cluster, hub, agent)

    asyncio.run(tell())


# An agent that is killed while it asks for a block of several pods.

NODES = 3


async def cut_off(cluster: Cluster, hub: Hub, agent: AgentProcess, number: int, *, late: bool) -> None:
    """Kill the agent when it asks for the pod of this number; another one makes the block whole."""

    async def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, (list(cluster.pods), hub.statuses[-1].info if hub.statuses else {})
            await asyncio.sleep(0.05)

    def record() -> dict[str, Any]:
        (path,) = agent.home.glob("blocks/*/block.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    cluster.hold(number, late=late)
    hub.send(Demand([DemandItem("", 1, Resources())]))
    await until(cluster.holding.is_set)
    await agent.kill()
    name = record()["name"]
    assert record()["job"] == ""
    assert sorted(cluster.pods) == [f"{name}-{n}" for n in range(number if late else number - 1)]
    cluster.held = 0
    if not late and number % 2:
        # What was under way when the agent died may also come to something only afterwards.
        cluster.release.set()
    await agent.start(KUBECONFIG=str(cluster.kubeconfig))
    await until(lambda: len(cluster.pods) == NODES)
    cluster.release.set()
    assert sorted(cluster.pods) == [f"{name}-{n}" for n in range(NODES)]
    await until(lambda: record()["job"] == name and not record()["cut"])
    assert len(cluster.posted) == NODES, "none is asked for twice"


@pytest.mark.parametrize(
    ("number", "late"), [(1, True), (2, False), (2, True), (3, False), (3, True)],
    ids=["one made", "second asked for", "second made", "third asked for", "all made"],
)  # fmt: skip
def test_a_block_whose_agent_was_killed_between_two_pods_is_made_whole(
    number: int, late: bool, cluster: Cluster
) -> None:
    cluster.short = "no node has room"

    async def tell() -> None:
        config = CONFIG + f"c.Blocks.nodes = {NODES}\nc.Blocks.max_blocks = 1\n"
        async with endpoint(config=config, KUBECONFIG=str(cluster.kubeconfig)) as (hub, agent):
            await cut_off(cluster, hub, agent, number, late=late)
            if (number, late) == (2, True):
                cluster.short = ""
                end = time.monotonic() + 60.0
                while hub.statuses[-1].info.get("managers") != NODES:
                    assert time.monotonic() < end, hub.statuses[-1].info
                    await asyncio.sleep(0.1)
            (agent.home / "stop-for-good").touch()
            await agent.stop()

    asyncio.run(tell())
    wait_for(lambda: not cluster.pods)


def test_the_rest_of_a_block_that_is_refused_leaves_alone_what_runs(cluster: Cluster, tmp_path: Path) -> None:
    cluster.grace = 0.1
    provider = made(tmp_path, nodes=NODES)
    whole = spec(tmp_path)
    cluster.quota = 1
    with pytest.raises(ProviderError):
        provider.submit(whole)
    wait_for(lambda: not cluster.pods)
    made(tmp_path, nodes=1).submit(whole)
    assert provider.jobs()["fx1"].nodes == 1
    cluster.quota = 2
    with pytest.raises(ProviderError, match=r'pods "fx1-2" is forbidden: exceeded quota'):
        provider.submit(whole._replace(begun=True))
    assert sorted(cluster.pods) == ["fx1-0", "fx1-1"]
    cluster.quota = 3
    provider.submit(whole._replace(begun=True))
    assert provider.jobs()["fx1"].nodes == NODES
    with cluster.lock:
        cluster.delete("fx1-0")
    assert provider.jobs()["fx1"].nodes == NODES - 1
    provider.cancel(["fx1"])
    wait_for(lambda: not cluster.pods)


# What is asked for.


def test_a_pod_is_one_by_the_clients_own_models(cluster: Cluster, tmp_path: Path) -> None:
    provider = made(
        tmp_path,
        cores_per_node=8,
        memory_per_node=12.5,
        gpus_per_node=2,
        setup=["module load cuda"],
        kube_volumes={"home": str(tmp_path), "data/me": "/data"},
        kube_service_account="fx",
        kube_node_selector={"gpu": "a100"},
        kube_tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        kube_priority_class="low",
        kube_image_pull_secrets=["registry"],
        kube_labels={"team": "physics"},
    )
    assert provider.check()[:4] == (8, 1, int(12.5 * 2**30), 2)
    assert provider.submit(spec(tmp_path)) == "fx1"
    (sent,) = cluster.posted
    pod = client.V1Pod.model_validate(sent)
    assert (pod.metadata.name, pod.metadata.labels[pods.JOB], pod.metadata.labels["team"]) == (
        "fx1-0",
        "fx1",
        "physics",
    )
    body, (manager,) = pod.spec, pod.spec.containers
    assert (body.restart_policy, body.active_deadline_seconds, body.service_account_name) == ("Never", 600, "fx")
    assert body.automount_service_account_token is False, "what runs there has no rights in the cluster"
    assert body.node_selector == {"gpu": "a100"}
    assert (body.tolerations[0].effect, body.priority_class_name) == ("NoSchedule", "low")
    assert body.image_pull_secrets[0].name == "registry"
    assert (body.security_context.run_as_user, body.security_context.run_as_group) == (os.getuid(), os.getgid())
    assert body.security_context.run_as_non_root is (os.getuid() != 0)
    assert manager.security_context.allow_privilege_escalation is False
    assert manager.security_context.capabilities.drop == ["ALL"]
    assert manager.image == IMAGE
    assert manager.resources.limits == {"cpu": "8", "memory": "12800Mi", "nvidia.com/gpu": "2"}
    assert manager.resources.requests == manager.resources.limits
    claims = {one.name: one.persistent_volume_claim.claim_name for one in body.volumes if one.persistent_volume_claim}
    mounts = {one.mount_path: (claims.get(one.name), one.sub_path) for one in manager.volume_mounts}
    assert mounts == {str(tmp_path): ("home", None), "/data": ("data", "me"), "/dev/shm": (None, None)}
    assert {one.name: one.value for one in manager.env}["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "module load cuda" in manager.command[2]


def test_what_runs_as_an_ordinary_user_is_held_to_be_none_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    blocks = made(tmp_path)._settings
    context = pods.manifest(blocks, "fx1", 0, "true", tmp_path / "b", "o")["spec"]["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 1000)


def test_a_block_of_two_nodes_is_two_pods_or_none(cluster: Cluster, tmp_path: Path) -> None:
    cluster.grace = 0.1  # as in a pod, sleep does not heed SIGTERM
    provider = made(tmp_path, nodes=2)
    provider.submit(spec(tmp_path))
    assert sorted(cluster.pods) == ["fx1-0", "fx1-1"]
    job = provider.jobs()["fx1"]
    assert (job.state, job.name) == ("running", "fx1")
    assert 500 < job.left <= 600
    cluster.quota = 3
    with pytest.raises(ProviderError, match=r'pods "fx2-1" is forbidden: exceeded quota'):
        provider.submit(spec(tmp_path, name="fx2"))
    assert sorted(cluster.pods) == ["fx1-0", "fx1-1"], "a part of a block is no use"
    provider.cancel(["fx1", "never-was"])
    wait_for(lambda: not cluster.pods)
    assert provider.jobs() == {}


def test_two_endpoints_in_one_namespace_see_their_own(cluster: Cluster, tmp_path: Path) -> None:
    cluster.grace = 0.1
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one, two = map(made, folders)
    one.submit(spec(folders[0]))
    assert set(one.jobs()) == {"fx1"}
    assert two.jobs() == {}
    two.cancel(["fx1"])
    assert set(one.jobs()) == {"fx1"}


# What goes wrong.


def test_a_pod_that_fails_says_why_and_is_removed(cluster: Cluster, tmp_path: Path) -> None:
    provider = made(tmp_path)
    provider.submit(spec(tmp_path, "python-of-nowhere -m jupyter_fx.endpoint.node"))
    seen: list[JobInfo] = []
    wait_for(lambda: seen.append(provider.jobs()["fx1"]) or seen[-1].state == "failed")
    assert seen[-1].reason.startswith("Error with status 127: ")
    assert seen[-1].reason.endswith("python-of-nowhere: not found")
    wait_for(lambda: provider.jobs() == {})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kube_image": ""}, "c.Kubernetes.image must say what pods run"),
        ({"kube_volumes": {"data": "/elsewhere"}}, "pods would not see the endpoint's directory"),
        ({"kube_volumes": {"data": "here"}}, "'here' is no absolute path"),
        ({"kube_tolerations": [{"efect": "NoSchedule"}]}, r"spec\.tolerations\.0\.efect: Extra inputs"),
        ({"kube_tolerations": [{"tolerationSeconds": "long"}]}, r"tolerations\.0\.tolerationSeconds: .*integer"),
    ],
)
def test_settings_that_make_no_pod(settings: dict[str, Any], said: str, cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        made(tmp_path, **settings).check()


def test_a_label_that_is_none_is_refused_in_the_clusters_words(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match='Pod "fx1-0" is invalid: metadata: Invalid value: "high energy"'):
        made(tmp_path, kube_labels={"team": "high energy"}).submit(spec(tmp_path))


def test_what_cannot_be_asked_says_so(cluster: Cluster, tmp_path: Path) -> None:
    made(tmp_path).look()
    with pytest.raises(ProviderError, match='cannot get resource "pods" in API group "" in the namespace "other"'):
        made(tmp_path, kube_namespace="other").look()
    with pytest.raises(UsageError, match=r"cannot be used: .*Expected object with name prod in"):
        made(tmp_path, kube_context="prod").look()
    cluster.write("an-old-token")
    with pytest.raises(ProviderError, match="Unauthorized"):
        made(tmp_path).look()
    cluster.address = "http://127.0.0.1:1"
    cluster.write("any")
    with pytest.raises(ProviderError, match=r"the cluster's API is not reached: .*refused"):
        made(tmp_path).jobs()


def test_without_the_package_or_a_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"there is no kubeconfig \(.*/none\), and this is no pod of a cluster"):
        made(tmp_path).look()
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(UsageError, match=r"pip install 'jupyter-fx\[kubernetes\]'"):
        made(tmp_path).look()


def pod(phase: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "fx1-0", "labels": {pods.BLOCK: "none"}},
        "spec": {"activeDeadlineSeconds": 600},
        "status": {"phase": phase, **status},
    }


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"state": state}]


OOM = {"exitCode": 137, "reason": "OOMKilled"}
NO_SHELL = {"exitCode": 2, "reason": "Error", "message": "sh: 1: cannot create /home/x: Directory nonexistent\n"}


@pytest.mark.parametrize(
    ("those", "state", "reason"),
    [
        ([pod("Succeeded")], "ended", ""),
        ([pod("Pending"), pod("Running")], "running", ""),
        ([pod("Pending"), pod("Failed")], "running", ""),
        ([pod("Unknown")], "running", ""),
        ([pod("Failed", reason="DeadlineExceeded", message="Pod was active on the node too long")],
         "ended", "DeadlineExceeded: Pod was active on the node too long"),
        ([pod("Failed", reason="Evicted", message="The node was low on resource: memory. ")],
         "failed", "Evicted: The node was low on resource: memory"),
        ([pod("Succeeded"), pod("Failed", containerStatuses=container(terminated=OOM))],
         "failed", "OOMKilled with status 137"),
        ([pod("Failed", containerStatuses=container(terminated=NO_SHELL))],
         "failed", "Error with status 2: sh: 1: cannot create /home/x: Directory nonexistent"),
        ([pod("Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"}))],
         "pending", "ContainerCreating"),
    ],
)  # fmt: skip
def test_what_the_pods_of_a_job_come_to(those: list[Any], state: str, reason: str, tmp_path: Path) -> None:
    found = job_of("fx1", those, datetime.now(UTC), tmp_path)
    assert (found.state, found.reason) == (state, reason)


# Its file.


def test_configure_writes_a_file_that_says_what_is_to_be_said(cluster: Cluster, tmp_path: Path) -> None:
    blocks, told = scheduler.suggested("k8s", {})
    path = tmp_path / "config.py"
    configfile.make(path, "pods", {"Blocks": blocks}, told)
    text = path.read_text()
    assert "namespace science" in text
    assert all(f"# c.Kubernetes.{name} = " in text for name in pods.Kubernetes.class_trait_names(config=True))
    lines = text.replace('# c.Kubernetes.image = "reg', 'c.Kubernetes.image = "reg')
    path.write_text(
        lines.replace('# c.Kubernetes.volumes = {"CLAIM": "/home/me"}', f'c.Kubernetes.volumes = {{"c": "{tmp_path}"}}')
    )
    found = load_blocks(path)
    assert found.kubernetes.image == "registry.example.org/me/jupyter-fx:latest"
    assert KubernetesProvider(found, tmp_path).check().slots == 2
    chosen = found.chosen({"walltime": "00:01:00"})
    assert chosen.kubernetes.volumes == {"c": str(tmp_path)}


def test_what_pods_do_not_have_is_refused_with_what_they_have(cluster: Cluster, tmp_path: Path) -> None:
    blocks, told = scheduler.suggested("kubernetes", {"partition": "gpu"})
    with pytest.raises(UsageError, match=r"c.Blocks.partition: pods have none: c.Kubernetes.node_selector"):
        configfile.make(tmp_path / "config.py", "pods", {"Blocks": blocks}, told)
    with pytest.raises(UsageError, match="Kubernetes has no partition that could be chosen"):
        made(tmp_path).settings_of("partition=gpu")
