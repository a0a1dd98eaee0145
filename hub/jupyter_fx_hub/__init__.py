"""The fx hub: the only durable queue. It never opens a pickle."""
