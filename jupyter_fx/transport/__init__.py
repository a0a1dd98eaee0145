"""Shells around the protocol's link that do the I/O: WebSocket, Unix socket, ZeroMQ, pipe."""
