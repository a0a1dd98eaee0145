"""Finds or starts an fx hub and a local endpoint when nothing is configured; by command line, never by import."""
