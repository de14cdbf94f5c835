//! What a message means: raw, echo, WAMP to commands; a delivery to bytes. Pure.
