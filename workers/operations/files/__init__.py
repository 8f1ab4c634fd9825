"""Order files as people really have them: encodings, headers and values that spreadsheets have changed."""
