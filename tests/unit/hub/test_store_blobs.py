from __future__ import annotations

import msgspec
import pytest

from jupyter_fx.digest import digest
from jupyter_fx.errors import PayloadError, RemoteProtocolError, StorageFull, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.limits import BLOB_CHUNK
from jupyter_fx.protocol.messages import BlobRef, TaskOptions, TaskSpec
from jupyter_fx_hub.store.blobs import BlobStore
from jupyter_fx_hub.store.ops import DeleteTasks, PutFunction

DATA = bytes(range(256)) * 3000
NAME = digest(DATA)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def place(harness):
    """A store with blobs and a clock that stands."""
    one = harness()
    one.clock = Clock()
    one.blobs = BlobStore(one.folder / "blobs", one.store, limit=1 << 20, clock=one.clock)
    yield one
    one.blobs.close()


async def upload(blobs, owner, data=DATA, name=None):
    name = name or digest(data)
    at = await blobs.begin(owner, name, len(data))
    sent = 0
    while at < len(data):
        chunk = data[at : at + BLOB_CHUNK]
        at = await blobs.put(owner, name, at, len(data), chunk)
        sent += len(chunk)
    return sent


async def download(blobs, owner, name=NAME, **more):
    got, size = await blobs.get(owner, name, **more)
    while len(got) < size:
        got += (await blobs.get(owner, name, len(got), **more))[0]
    return got


def test_what_was_put_comes_back(place):
    assert place.run(upload(place.blobs, "ann")) == len(DATA)
    assert place.run(download(place.blobs, "ann")) == DATA
    assert place.run(place.blobs.get("ann", NAME, 10, 5)) == (DATA[10:15], len(DATA))
    assert place.run(upload(place.blobs, "ann")) == 0
    assert place.run(upload(place.blobs, "ann", b"")) == 0
    assert place.run(place.blobs.get("ann", digest(b""))) == (b"", 0)


def test_knowing_a_digest_opens_nothing(place):
    place.run(upload(place.blobs, "ann"))
    for name in (NAME, "0" * 64, "../../etc/passwd"):
        with pytest.raises(UsageError, match=r"there is no blob .* for you here"):
            place.run(place.blobs.get("bob", name))
    assert place.run(place.blobs.begin("bob", NAME, len(DATA))) == 0
    with pytest.raises(UsageError):
        place.run(place.blobs.get("bob", NAME))
    assert place.run(upload(place.blobs, "bob")) == len(DATA)
    assert place.run(download(place.blobs, "bob")) == DATA
    assert len(list((place.folder / "blobs").glob("??/*"))) == 1


def test_an_upload_goes_on_where_it_stopped_after_a_restart_too(place):
    place.run(place.blobs.begin("ann", NAME, len(DATA)))
    place.run(place.blobs.put("ann", NAME, 0, len(DATA), DATA[:BLOB_CHUNK]))
    place.blobs.close()
    place.reopen()
    place.blobs = BlobStore(place.folder / "blobs", place.store, limit=1 << 20, clock=place.clock)
    assert place.run(place.blobs.begin("bob", NAME, len(DATA))) == 0
    assert place.run(upload(place.blobs, "ann")) == len(DATA) - BLOB_CHUNK
    assert place.run(download(place.blobs, "ann")) == DATA


def test_bytes_of_another_digest_are_thrown_away(place):
    with pytest.raises(PayloadError, match="not those of the digest"):
        place.run(upload(place.blobs, "ann", DATA[:-1] + b"!", NAME))
    assert place.run(place.blobs.begin("ann", NAME, len(DATA))) == 0
    assert not list((place.folder / "blobs").glob("??/*"))


@pytest.mark.parametrize(
    ("offset", "size", "data"), [(5, 10, b"123456"), (-1, 10, b"1"), (3, 10, b"1"), (0, 1 << 21, b"1")]
)
def test_chunks_that_do_not_fit_are_refused(place, offset, size, data):
    with pytest.raises(RemoteProtocolError):
        place.run(place.blobs.put("ann", NAME, offset, size, data))
    with pytest.raises(RemoteProtocolError):
        place.run(place.blobs.put("ann", "../x", 0, 1, b"1"))


def test_a_blob_over_the_limit_is_refused_before_a_byte_is_taken(place):
    with pytest.raises(PayloadError, match="over the limit"):
        place.run(place.blobs.begin("ann", NAME, (1 << 20) + 1))


def test_a_full_disk_takes_no_uploads(place):
    place.store.space.note_full()
    with pytest.raises(StorageFull):
        place.run(place.blobs.begin("ann", NAME, len(DATA)))
    with pytest.raises(StorageFull):
        place.run(place.blobs.put("ann", NAME, 0, len(DATA), b"1"))


def test_an_endpoint_reads_what_its_unfinished_tasks_need_and_no_more(place):
    task, guess = new_id(), new_id()
    place.run(upload(place.blobs, "ann"))
    place.write(place.insert(task, blobs=[NAME]), place.insert(guess, "bob", endpoint_id="guessing", blobs=[NAME]))
    assert place.run(download(place.blobs, "", endpoint_id=place.endpoint)) == DATA
    for other in ("other", "guessing"):
        with pytest.raises(UsageError):
            place.run(download(place.blobs, "", endpoint_id=other))
    place.write(place.finish(task))
    with pytest.raises(UsageError):
        place.run(download(place.blobs, "", endpoint_id=place.endpoint))


def test_an_endpoint_reads_the_payload_and_the_inputs_of_its_tasks(place):
    source, consumer, large = new_id(), new_id(), new_id()
    place.run(upload(place.blobs, "ann", b"payload"))
    place.run(upload(place.blobs, "endpoint:elsewhere"))
    result = BlobRef(NAME, len(DATA))
    takes = TaskSpec(consumer, 0, "f", b"", options=TaskOptions(inputs=[source]))
    needs = TaskSpec(large, 0, "f", b"", options=TaskOptions(blob=BlobRef(digest(b"payload"), 7)))
    place.write(
        place.insert(source, endpoint_id="elsewhere"),
        place.finish(source, endpoint_id="elsewhere", blob=result),
        place.insert(consumer, spec=msgspec.msgpack.encode(takes)),
        place.insert(large, spec=msgspec.msgpack.encode(needs)),
    )
    assert place.run(download(place.blobs, "", endpoint_id=place.endpoint)) == DATA
    assert place.run(download(place.blobs, "", digest(b"payload"), endpoint_id=place.endpoint)) == b"payload"
    place.write(place.finish(consumer), DeleteTasks("ann", [consumer]))
    with pytest.raises(UsageError):
        place.run(download(place.blobs, "", endpoint_id=place.endpoint))


def test_an_endpoint_reads_the_function_of_its_task(place):
    place.run(upload(place.blobs, "ann"))
    place.write(PutFunction("f" * 64, "ann", "f", b"", BlobRef(NAME, len(DATA)), 1.0), place.insert(new_id()))
    assert place.run(download(place.blobs, "", endpoint_id=place.endpoint)) == DATA


def test_a_result_is_its_owners_if_the_endpoint_really_had_it(place):
    task, claimed = new_id(), new_id()
    secret = digest(b"of somebody else")
    place.run(upload(place.blobs, "eve", b"of somebody else"))
    place.run(upload(place.blobs, f"endpoint:{place.endpoint}"))
    place.write(place.insert(task), place.insert(claimed))
    place.settle()
    place.write(place.finish(task, blob=BlobRef(NAME, len(DATA))), place.finish(claimed, blob=BlobRef(secret, 16)))
    assert place.run(download(place.blobs, "ann")) == DATA
    with pytest.raises(UsageError):
        place.run(download(place.blobs, "ann", secret))


def test_collection_takes_what_nothing_reaches_and_nobody_used_lately(place):
    task = new_id()
    used, idle, function = b"used", b"idle", b"function"
    for data in (used, idle, function):
        place.run(upload(place.blobs, "ann", data))
    place.write(
        place.insert(task, blobs=[digest(used)]),
        PutFunction("f" * 64, "ann", "f", b"", BlobRef(digest(function), 8), 1.0),
        place.finish(task),
    )
    assert place.run(place.blobs.collect(grace=100.0)) == 0
    place.clock.now += 200
    assert place.run(place.blobs.collect(grace=100.0)) == 1
    with pytest.raises(UsageError):
        place.run(place.blobs.get("ann", digest(idle)))
    place.write(DeleteTasks("ann", [task]))
    assert place.run(place.blobs.collect(grace=100.0)) == 1
    assert place.run(download(place.blobs, "ann", digest(function))) == function
    assert len(list((place.folder / "blobs").glob("??/*"))) == 1
    assert place.run(upload(place.blobs, "ann", idle)) == len(idle)


def test_a_file_without_a_row_is_swept(place):
    place.run(upload(place.blobs, "ann"))
    stray = place.folder / "blobs" / "ab" / ("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    assert place.run(place.blobs.sweep()) == 1
    assert not stray.exists()
    assert place.run(download(place.blobs, "ann")) == DATA
