"""What a CRIU dump refers to, and how to make it restore in another container."""
