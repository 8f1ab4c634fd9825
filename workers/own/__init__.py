"""
Your own workers: `python -m workers run package.module:handler --queue NAME`.

loading.py imports the handler, decoding.py makes its argument from a message, handler.py calls it and settles the
message.
"""
