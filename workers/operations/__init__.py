"""What `orders` does, without a screen: typed results, errors of its own, progress by callback."""
