"""What each worker does with a message."""
