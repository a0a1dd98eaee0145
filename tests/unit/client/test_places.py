"""Where calls ran: their errors know the endpoint's id and the task, and a hub tells the endpoint's name, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from jupyter_fx.client import Executor, HubClient, remote
from jupyter_fx.client.places import name_of_endpoint
from jupyter_fx.errors import RemoteError, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import ErrorInfo
from jupyter_fx.testing.fake_hub import FakeHub


@pytest.fixture
def polaris(hub: FakeHub) -> str:
    """The id of the endpoint where the hub says that everything ran."""
    endpoint, run = new_id(), hub.run
    hub.run = lambda *given: msgspec.structs.replace(run(*given), endpoint_id=endpoint)  # type: ignore[method-assign]
    return endpoint


def inverse(x: int) -> float:
    return 1 / x


def of_call(client: HubClient) -> BaseException:
    found: BaseException | None = remote(inverse, client=client).submit(0).exception(60)
    assert found is not None
    return found


def of_map_item(client: HubClient) -> BaseException:
    found: BaseException = remote(inverse, client=client).map([1, 0], chunksize=2).wait().errors[1]
    return found


def of_executors_chunk(client: HubClient) -> BaseException:
    with pytest.raises(ZeroDivisionError) as caught:
        list(Executor(client=client).map(inverse, [1, 0], chunksize=2))
    return caught.value


@pytest.mark.parametrize("made", [of_call, of_map_item, of_executors_chunk])
def test_an_error_knows_its_task_and_the_endpoint_of_that(
    hub: FakeHub, client: HubClient, polaris: str, made: Callable[[HubClient], BaseException]
) -> None:
    cause = made(client).__cause__
    assert isinstance(cause, RemoteError)
    assert (cause.task_id, cause.details["endpoint_id"]) == (hub.submitted[-1].task_id, polaris)


def test_an_item_that_failed_before_its_worker_was_lost_knows_them_too(
    hub: FakeHub, client: HubClient, polaris: str
) -> None:
    run, lost = hub.run, ErrorInfo("WorkerLost", "it died")
    hub.run = lambda *given: msgspec.structs.replace(run(*given), state=TaskState.FAILED, error=lost)  # type: ignore[method-assign]
    cause = of_map_item(client).__cause__
    assert isinstance(cause, RemoteError)
    assert (cause.task_id, cause.details["endpoint_id"]) == (hub.submitted[-1].task_id, polaris)


def test_a_name_is_asked_for_once_and_one_that_is_not_known_again(hub: FakeHub, client: HubClient) -> None:
    known, asked = new_id(), list[str]()

    def get(args: dict[str, Any]) -> dict[str, Any]:
        asked.append(args["name"])
        if args["name"] != known:
            raise UsageError("no endpoint of this name")
        return {"name": "polaris"}

    hub.answers["endpoints.get"] = get
    assert [name_of_endpoint(known) for _ in range(2)] == ["polaris"] * 2
    other = new_id()
    assert [name_of_endpoint(one) for one in (other, other, "")] == [""] * 3
    assert asked == [known, other, other]
    client.close()
    assert name_of_endpoint(known) == "polaris"
    assert name_of_endpoint(other) == ""
    assert len(asked) == 3
