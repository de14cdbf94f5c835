//! TOML as written to settings as meant.
