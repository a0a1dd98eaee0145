"""The fx hub: the only durable queue. It holds every task, routes it, and never unpickles anything.

Layers: app -> api | links -> service -> state | store.
"""
