//! Scripted raw client, in-process server on port 0, seeded simulator. Not published.
