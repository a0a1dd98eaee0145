"""A place that runs code: the agent, its managers, and the pure state, routing and scaling that they carry out."""
