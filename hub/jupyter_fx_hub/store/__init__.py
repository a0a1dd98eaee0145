"""What is on disk: one writer, group commits, reads through the same connection. The service is the only caller."""
