"""The operator's command line, `orders`: every single order seen, explained and finished from a terminal."""
