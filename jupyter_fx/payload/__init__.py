"""Values on their way: envelopes, source identity, what cannot travel and why. Never opened by the fx hub.

Client and kernel use it; the envelope itself is `jupyter_fx_worker.envelope`, one place for both sides.
"""

from __future__ import annotations

from jupyter_fx.payload.diagnose import diagnose
from jupyter_fx.payload.functions import EncodedFunction, encode_function, name_of
from jupyter_fx.payload.inputs import as_input, takes_inputs
from jupyter_fx.payload.outcomes import (
    ItemError,
    Items,
    decode_error,
    decode_value,
    finished_items,
    lost_item,
    note_origins,
    remote_traceback,
)
from jupyter_fx.payload.replay import Replay, value_of
from jupyter_fx.payload.values import Encoded, as_encoded, encode_args, encode_items, join

__all__ = [
    "Encoded",
    "EncodedFunction",
    "ItemError",
    "Items",
    "Replay",
    "as_encoded",
    "as_input",
    "decode_error",
    "decode_value",
    "diagnose",
    "encode_args",
    "encode_function",
    "encode_items",
    "finished_items",
    "join",
    "lost_item",
    "name_of",
    "note_origins",
    "remote_traceback",
    "takes_inputs",
    "value_of",
]
