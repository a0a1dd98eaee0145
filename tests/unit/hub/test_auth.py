from __future__ import annotations

import pytest

from jupyter_fx.errors import AuthError, UsageError
from jupyter_fx_hub import auth
from jupyter_fx_hub.store.ops import RevokeToken


def test_tokens_are_long_and_never_stored(harness):
    one = harness()
    token, op = auth.new_token("ann", ["run", "read"], 100.0, note="laptop")
    assert token.startswith("jfx_")
    assert len(token) == 4 + 43
    one.write(op)
    found = one.ask("token", auth.hash_secret(token))
    assert auth.authenticate(token, found, 1e12).user == "ann"
    assert [row.note for row in one.ask("tokens", "ann")] == ["laptop"]
    one.store.close()
    for file in one.folder.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes()
    one.open()


def test_a_token_ends_by_time_or_by_its_owners_word_and_nobody_elses(harness):
    one = harness()
    token, op = auth.new_token("ann", ["run"], 100.0, lifetime=10.0)
    one.write(op)
    row = one.ask("token", auth.hash_secret(token))
    assert auth.authenticate(token, row, 109.9).expires == 110.0
    with pytest.raises(AuthError, match="expired"):
        auth.authenticate(token, row, 110.0)
    one.write(RevokeToken("bob", op.token_id, 105.0))
    assert [kind for _, kind, _ in one.settle()] == ["missing"]
    one.write(RevokeToken("ann", op.token_id, 105.0))
    with pytest.raises(AuthError, match="revoked"):
        auth.authenticate(token, one.ask("token", auth.hash_secret(token)), 106.0)


@pytest.mark.parametrize("token", ["", "jfx_x", "jfx_\udcff", "x" * 10_000])
def test_an_unknown_token_is_refused(harness, token):
    with pytest.raises(AuthError, match="does not know this token" if token else "none was given"):
        auth.authenticate(token, harness().ask("token", auth.hash_secret(token)), 1.0)


def test_scopes_say_what_a_token_may():
    reader = auth.Identity("ann", frozenset({"read"}))
    reader.need("read")
    with pytest.raises(AuthError, match="'run'"):
        reader.need("run")
    assert auth.Identity("root", frozenset({"admin"})).may("endpoints")
    with pytest.raises(UsageError, match="no scope 'fly'"):
        auth.new_token("ann", ["fly"], 1.0)


def test_a_code_makes_one_endpoint_within_its_time(harness):
    one = harness()
    code, op = auth.new_code("ann", "polaris", 100.0)
    one.write(op)
    assert one.ask("code", auth.hash_secret(code), 100.0 + auth.CODE_LIFETIME) is None
    found = one.ask("code", auth.hash_secret(code), 101.0)
    endpoint_id, credential, redeem = auth.enrol(code, found, "polaris", {"host": "h"}, 101.0, 1)
    second_id, _, again = auth.enrol(code, found, "polaris", {}, 101.0, 1)
    one.write(redeem, again)
    assert one.settle() == [(second_id, "code", "RedeemCode")]
    row = one.ask("endpoint_by_credential", auth.hash_secret(credential))
    assert (row.endpoint_id, row.owner, row.name) == (endpoint_id, "ann", "polaris")
    with pytest.raises(AuthError, match="enrolment code"):
        auth.enrol(code, one.ask("code", auth.hash_secret(code), 102.0), "polaris", {}, 102.0, 1)


def test_a_code_is_good_for_the_name_that_it_was_made_for():
    with pytest.raises(AuthError):
        auth.enrol("c", ("ann", "polaris"), "other", {}, 1.0, 1)
    with pytest.raises(UsageError):
        auth.new_code("ann", "../x", 1.0)


def test_verify_compares_with_what_is_stored():
    assert auth.verify("secret", auth.hash_secret("secret"))
    assert not auth.verify("other", auth.hash_secret("secret"))
    assert not auth.verify("", b"")
