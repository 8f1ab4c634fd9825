"""Makes the SDK fast and safe: configuration, direct calls, signing, parsing, TLS, metering."""
