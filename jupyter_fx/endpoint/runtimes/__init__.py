"""How a container is started and stopped, whichever program does it: one contract and one builder of command lines.

Used by `endpoint.environments` and `endpoint.containers`; nothing here runs anything.
"""
