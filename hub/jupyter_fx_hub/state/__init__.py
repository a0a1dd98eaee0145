"""What the hub decides: pure, ``HubState.handle(event, now) -> [instruction]``; no clock, no I/O. Called by the
service alone.
"""
