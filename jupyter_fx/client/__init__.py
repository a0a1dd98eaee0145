"""Talks to an fx hub: HubClient, futures, Executor, refs."""
