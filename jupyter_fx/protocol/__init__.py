"""What travels and in which order: messages, their codec, the lifecycle tables and the sans-I/O link.

Pure: no clock, no socket, no randomness. Everybody may call it; docs/wire-protocol.md tells the story.
"""
