//! The serializers' names.

/// How values are written as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// RFC 8259.
    Json,
    /// The MessagePack specification of 2013 or later, which tells strings from bytes.
    MsgPack,
    /// RFC 8949.
    Cbor,
}

impl Serializer {
    /// All there are.
    pub const ALL: [Serializer; 3] = [Serializer::Json, Serializer::MsgPack, Serializer::Cbor];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Serializer::Json => "JSON",
            Serializer::MsgPack => "MessagePack",
            Serializer::Cbor => "CBOR",
        }
    }
}
