"""An endpoint behind `ssh` (DESIGN decision 14): for whoever has a laptop, an account on a cluster, and no hub there.

* `bridge` runs on the far host, started by ssh: a Unix socket to which the agent there links as if it were the hub.
* `keeper` runs on the near host: it runs ssh, and joins what comes out of it to the hub.
* `install` brings jupyter-fx to the far host. `record` is what is remembered of all that.

The far side is trusted with no more than an endpoint: the keeper links to a socket of the hub at which only endpoints
with their credential are let in.
"""
