"""The rules file: `reader.py` reads it into rules and channels, `tables.py` has its keys, `problems.py` its errors."""
