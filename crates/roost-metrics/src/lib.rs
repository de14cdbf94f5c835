//! Counters with one writer each, and their names.
