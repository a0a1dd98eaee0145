"""The notebook side: magics, capture, card, session."""
