"""Tokens, enrolment codes and endpoint credentials: made here, stored as hashes only.

Secrets are 256 random bits (a code: 80, good for 15 minutes and once), so a plain fast hash is enough: there is
nothing to guess. A hash is looked up by an index of the database; `verify` compares in constant time where two of
them are at hand.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

import msgspec

from jupyter_fx.errors import AuthError, UsageError
from jupyter_fx.ids import check_name, new_id
from jupyter_fx_hub.store.ops import PutCode, PutEndpoint, PutToken, RedeemCode
from jupyter_fx_hub.store.rows import TokenRow

__all__ = [
    "CODE_LIFETIME",
    "SCOPES",
    "TOKEN_LIFETIME",
    "Identity",
    "authenticate",
    "enrol",
    "hash_secret",
    "make_code",
    "make_credential",
    "make_token",
    "new_code",
    "new_token",
    "verify",
]

CODE_LIFETIME: Final = 15 * 60.0
"""Seconds that an enrolment code is good."""
TOKEN_LIFETIME: Final = 90 * 86400.0
"""Seconds that a token is good unless its owner says otherwise."""
SCOPES: Final = ("read", "run", "endpoints", "admin")
"""What a token may allow: look at tasks; submit and cancel; add and delete endpoints; everything and everybody."""
_TOKEN, _CREDENTIAL, _CODE = "jfx_", "jfxe_", "jfxc-"


class Identity(msgspec.Struct, frozen=True):
    """Who speaks on a link or request, and what they may."""

    user: str
    scopes: frozenset[str]
    token_id: str = ""
    expires: float = 0.0

    def may(self, scope: str) -> bool:
        """Whether `scope` is allowed; `admin` holds every other."""
        return scope in self.scopes or "admin" in self.scopes

    def need(self, scope: str) -> None:
        """Raise AuthError unless `scope` is allowed."""
        if not self.may(scope):
            raise AuthError(
                f"this token does not allow {scope!r}: one that does is made with `jupyter fx token new --scopes`"
            )


def hash_secret(secret: str) -> bytes:
    """What is stored of a secret: SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def verify(secret: str, stored: bytes) -> bool:
    """Whether `stored` is the hash of `secret`, in a time that tells nothing. An empty hash fits no secret."""
    return hmac.compare_digest(hash_secret(secret), stored) and bool(stored)


def make_token() -> str:
    """A new token: `jfx_` and 43 letters, 256 bits."""
    return _TOKEN + secrets.token_urlsafe(32)


def make_credential() -> str:
    """A new credential of an endpoint: good for its own link and nothing else."""
    return _CREDENTIAL + secrets.token_urlsafe(32)


def make_code() -> str:
    """A new enrolment code, made to be typed: `jfxc-` and sixteen letters and digits in groups of four."""
    text = base64.b32encode(secrets.token_bytes(10)).decode("ascii").lower()
    return _CODE + "-".join(text[i : i + 4] for i in range(0, 16, 4))


def new_token(
    owner: str, scopes: Iterable[str], now: float, lifetime: float = 0.0, note: str = ""
) -> tuple[str, PutToken]:
    """A token for `owner` and the op that stores it. `lifetime` in seconds; 0: until revoked."""
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown:
        raise UsageError(f"there is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
    token = make_token()
    expires = now + lifetime if lifetime else 0.0
    return token, PutToken(new_id(), hash_secret(token), owner, wanted, now, expires, note[:200])


def authenticate(token: str, found: TokenRow | None, now: float) -> Identity:
    """Who `token` is, given the row that `store.read("token", hash_secret(token))` found, or AuthError.

    Unknown, revoked and expired tokens are told apart only as far as helps their owner.
    """
    if not token:
        raise AuthError("the fx hub asks for a token and none was given: keep one with `jupyter fx login`")
    if found is None or found.revoked:
        raise AuthError(
            "the fx hub does not know this token, or it was revoked: get a new one and keep it with `jupyter fx login`"
        )
    if found.expires and found.expires <= now:
        raise AuthError("this token has expired: get a new one and keep it with `jupyter fx login`")
    return Identity(found.owner, frozenset(found.scopes), found.token_id, found.expires)


def new_code(owner: str, name: str, now: float) -> tuple[str, PutCode]:
    """An enrolment code for an endpoint of `owner` to be called `name`, and the op that stores it."""
    check_name(name, "name of an endpoint")
    code = make_code()
    return code, PutCode(hash_secret(code), owner, name, now, now + CODE_LIFETIME)


def enrol(
    code: str, found: tuple[str, str] | None, name: str, info: dict[str, object], now: float, state: int
) -> tuple[str, str, RedeemCode]:
    """(endpoint_id, credential, op) for an agent that presents `code`, or AuthError.

    `found` is what `store.read("code", hash_secret(code), now)` answered. The op uses the code up and makes the
    endpoint in one transaction: of two agents with one code, the second one's op is refused (Problem `code`), and
    only then is it known.
    """
    if found is None or (name and name != found[1]):
        raise AuthError(
            "this enrolment code is unknown, used, expired (they last 15 minutes) or was made for another name: "
            "get a new one with `jupyter fx endpoint code NAME`"
        )
    owner, meant = found
    credential = make_credential()
    endpoint_id = new_id()
    made = PutEndpoint(endpoint_id, owner, meant, state, dict(info), now, now, hash_secret(credential))
    return endpoint_id, credential, RedeemCode(hash_secret(code), now, made)
