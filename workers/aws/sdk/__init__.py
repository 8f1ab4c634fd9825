"""How the SDK is made fast and safe: configuration, direct calls, signing, parsing, TLS, metering."""
