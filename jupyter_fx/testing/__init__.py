"""For tests, ours and those of users: fake clock, fake link, hub and endpoint in one process."""
