//! One core: the connection table and the loop that joins net, wire, dialect and hub.
