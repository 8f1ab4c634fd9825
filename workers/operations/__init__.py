"""The work behind each `orders` command. Prints nothing: typed results, its own errors, progress by callback."""
