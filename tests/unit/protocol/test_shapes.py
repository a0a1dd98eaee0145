from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.errors import RemoteProtocolError
from jupyter_fx.protocol.messages import Resources
from jupyter_fx.protocol.shapes import DEFAULT_SHAPE, resources_of, session_of, session_shape, shape_of

RESOURCES = st.builds(
    Resources,
    st.integers(0, 10_000),
    st.integers(0, 2**50),
    st.integers(0, 64),
    st.text(max_size=30),
    st.booleans(),
    st.text("ab,%2C5=;e", max_size=12),
)


@given(RESOURCES)
def test_a_key_tells_its_resources_and_is_canonical(resources: Resources) -> None:
    key = shape_of(resources)
    assert shape_of(resources_of(key)) == key


@given(RESOURCES, RESOURCES)
def test_different_needs_have_different_keys(one: Resources, two: Resources) -> None:
    same = resources_of(shape_of(one)) == resources_of(shape_of(two))
    assert same == (shape_of(one) == shape_of(two))


def test_what_asks_for_nothing_is_the_default_shape() -> None:
    assert shape_of(Resources()) == shape_of(Resources(cores=1, environment="host")) == DEFAULT_SHAPE
    assert shape_of(Resources(4, 2**30, 1, "torch,e=1.sqfs", True)) == "c4,m1073741824,g1,x,e=torch,e=1.sqfs"
    assert shape_of(Resources(gpus=1, allocation="account=a;qos=b")) == "g1,a=account=a;qos=b"


def test_sessions_have_keys_of_their_own() -> None:
    assert session_of(session_shape("ab" * 16)) == "ab" * 16
    assert resources_of(session_shape("ab" * 16)) == Resources()
    assert session_of("c4") == ""
    assert session_of(DEFAULT_SHAPE) == ""


@pytest.mark.parametrize("key", ["q", "c", "c1", "c04", "g1,c4", "c-1", "c4,", "x,x", "e=", "e=host", "c" + "9" * 30])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(RemoteProtocolError, match="no shape key"):
        resources_of(key)
