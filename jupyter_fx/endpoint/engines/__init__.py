"""Engines of others, Parsl and Dask, that run the calls and map chunks of an endpoint.

The agent talks to `link`; the engine lives in a manager process (`host`, `manager`) that outlives the agent.
"""
