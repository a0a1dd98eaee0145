"""Values on their way: envelopes, strategies, source identity. Never opened by the fx hub."""
