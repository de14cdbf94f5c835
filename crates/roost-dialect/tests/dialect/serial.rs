//! Values between the serializers: examples of the formats' own documents, mistakes, and properties
//! against a model.

use proptest::prelude::*;
use roost_dialect::Serializer::{self, Cbor, Json, MsgPack};
use roost_dialect::serial::convert;
use serde_json::Value;

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.map(byte).collect()
}

fn to_json(hex: &str, from: Serializer) -> Result<String, &'static str> {
    let json = convert(&unhex(hex), from, Json)?;
    Ok(String::from_utf8(json).expect("JSON is text"))
}

/// RFC 8949, Appendix A, as JSON: bytes by WAMP's convention, tags without their number.
#[test]
fn examples_of_cbor() {
    for (hex, json) in [
        ("00", "0"),
        ("17", "23"),
        ("1818", "24"),
        ("1864", "100"),
        ("1903e8", "1000"),
        ("1a000f4240", "1000000"),
        ("1b000000e8d4a51000", "1000000000000"),
        ("1bffffffffffffffff", "18446744073709551615"),
        ("c249010000000000000000", "1.8446744073709552e19"),
        ("3bffffffffffffffff", "-18446744073709551616"),
        ("c349010000000000000000", "-1.8446744073709552e19"),
        ("c2420100", "256"),
        ("c3420100", "-257"),
        ("20", "-1"),
        ("29", "-10"),
        ("3863", "-100"),
        ("3903e7", "-1000"),
        ("f90000", "0.0"),
        ("f98000", "-0.0"),
        ("f93c00", "1.0"),
        ("fb3ff199999999999a", "1.1"),
        ("f93e00", "1.5"),
        ("f97bff", "65504.0"),
        ("fa47c35000", "100000.0"),
        ("fa7f7fffff", "3.4028234663852886e38"),
        ("fb7e37e43c8800759c", "1e300"),
        ("f90001", "5.960464477539063e-8"),
        ("f90400", "0.00006103515625"),
        ("f9c400", "-4.0"),
        ("fbc010666666666666", "-4.1"),
        ("f97c00", "null"),
        ("f97e00", "null"),
        ("f9fc00", "null"),
        ("fa7fc00000", "null"),
        ("fb7ff0000000000000", "null"),
        ("f4", "false"),
        ("f5", "true"),
        ("f6", "null"),
        ("f7", "null"),
        (
            "c074323031332d30332d32315432303a30343a30305a",
            r#""2013-03-21T20:04:00Z""#,
        ),
        ("c11a514b67b0", "1363896240"),
        ("d9d9f783010203", "[1,2,3]"),
        ("40", r#""\u0000""#),
        ("4401020304", r#""\u0000AQIDBA==""#),
        ("60", r#""""#),
        ("6449455446", r#""IETF""#),
        ("62225c", r#""\"\\""#),
        ("62c3bc", "\"ü\""),
        ("64f0908591", "\"𐅑\""),
        ("80", "[]"),
        ("8301820203820405", "[1,[2,3],[4,5]]"),
        ("a0", "{}"),
        ("a201020304", r#"{"1":2,"3":4}"#),
        ("a3f501f60220f5", r#"{"true":1,"null":2,"-1":true}"#),
        ("a26161016162820203", r#"{"a":1,"b":[2,3]}"#),
        ("5f42010243030405ff", r#""\u0000AQIDBAU=""#),
        ("7f657374726561646d696e67ff", r#""streaming""#),
        ("9fff", "[]"),
        ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
        ("83018202039f0405ff", "[1,[2,3],[4,5]]"),
        ("bf61610161629f0203ffff", r#"{"a":1,"b":[2,3]}"#),
        ("bf6346756ef563416d7421ff", r#"{"Fun":true,"Amt":-2}"#),
    ] {
        let number = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let written = to_json(hex, Cbor).unwrap_or_else(|error| panic!("{hex}: {error}"));
        assert!(
            written == json || number(&written) == number(json),
            "{hex}: {written}"
        );
    }
}

/// The formats' table of the MessagePack specification, first bytes with the least behind them.
#[test]
fn examples_of_messagepack() {
    for (hex, json) in [
        ("00", "0"),
        ("7f", "127"),
        ("80", "{}"),
        ("82a161c3a162c0", r#"{"a":true,"b":null}"#),
        ("90", "[]"),
        ("93010203", "[1,2,3]"),
        ("a0", r#""""#),
        ("a3666f6f", r#""foo""#),
        ("c0", "null"),
        ("c2", "false"),
        ("c3", "true"),
        ("c40401020304", r#""\u0000AQIDBA==""#),
        ("c5000101", r#""\u0000AQ==""#),
        ("c60000000101", r#""\u0000AQ==""#),
        ("c7010501", r#""\u0000AQ==""#),
        ("c800010501", r#""\u0000AQ==""#),
        ("c9000000010501", r#""\u0000AQ==""#),
        ("ca3fc00000", "1.5"),
        ("cb3ff8000000000000", "1.5"),
        ("cb7ff8000000000000", "null"),
        ("ccff", "255"),
        ("cdffff", "65535"),
        ("ceffffffff", "4294967295"),
        ("cfffffffffffffffff", "18446744073709551615"),
        ("d080", "-128"),
        ("d07f", "127"),
        ("d18000", "-32768"),
        ("d280000000", "-2147483648"),
        ("d38000000000000000", "-9223372036854775808"),
        ("d40501", r#""\u0000AQ==""#),
        ("d5050102", r#""\u0000AQI=""#),
        ("d6ff01020304", r#""\u0000AQIDBA==""#),
        ("d903666f6f", r#""foo""#),
        ("da0003666f6f", r#""foo""#),
        ("db00000003666f6f", r#""foo""#),
        ("dc000101", "[1]"),
        ("dd0000000101", "[1]"),
        ("de0001a16101", r#"{"a":1}"#),
        ("df00000001a16101", r#"{"a":1}"#),
        ("8101c3", r#"{"1":true}"#),
        ("e0", "-32"),
        ("ff", "-1"),
    ] {
        assert_eq!(to_json(hex, MsgPack).as_deref(), Ok(json), "{hex}");
    }
}

#[test]
fn what_is_no_value_is_refused_by_name() {
    let truncated = "it ends in the middle of a value";
    let claims = "an array or a map claims more elements than there are bytes";
    for (from, hex, reason) in [
        (MsgPack, "", truncated),
        (MsgPack, "c1", "0xc1 begins no MessagePack value"),
        (MsgPack, "a361", truncated),
        (MsgPack, "dbffffffff", truncated),
        (MsgPack, "c6ffffffff00", truncated),
        (MsgPack, "ddffffffff00", claims),
        (MsgPack, "df8000000000", claims),
        (MsgPack, "9201", claims),
        (MsgPack, "92a101", truncated),
        (MsgPack, "a1ff", "a string is not UTF-8"),
        (MsgPack, "8190c0", "a map has an array or a map as key"),
        (MsgPack, "0000", "more follows behind the value"),
        (Cbor, "", truncated),
        (Cbor, "18", truncated),
        (Cbor, "1c", "a CBOR head has a reserved length"),
        (Cbor, "1f", "a CBOR head has a reserved length"),
        (Cbor, "df00", "a CBOR head has a reserved length"),
        (Cbor, "9bffffffffffffffff00", claims),
        (Cbor, "bb800000000000000000", claims),
        (Cbor, "7bffffffffffffffff00", truncated),
        (Cbor, "ff", "a break stands where a value should"),
        (Cbor, "82ff00", "a break stands where a value should"),
        (Cbor, "bf00ff", "a break stands where a value should"),
        (Cbor, "9f00", truncated),
        (Cbor, "61ff", "a string is not UTF-8"),
        (Cbor, "7f61ffff", "a string is not UTF-8"),
        (
            Cbor,
            "5f6161ff",
            "a string of indefinite length has a part that is no such string",
        ),
        (
            Cbor,
            "5f5f4101ffff",
            "a string of indefinite length has a part that is no such string",
        ),
        (Cbor, "a18001", "a map has an array or a map as key"),
        (Cbor, "f0", "a CBOR simple value is unassigned"),
        (Cbor, "f8ff", "a CBOR simple value is unassigned"),
        (Cbor, "c0", truncated),
        (Cbor, "9fc0ff", "a CBOR tag has no value behind it"),
        (
            Cbor,
            "c0c0c0c0c0c0c0c0c000",
            "more than 8 CBOR tags stand before one value",
        ),
        (Cbor, "0000", "more follows behind the value"),
    ] {
        assert_eq!(to_json(hex, from), Err(reason), "{from:?} {hex}");
    }
}

#[test]
fn nesting_is_bounded() {
    for (from, open, close) in [
        (MsgPack, &b"\x91"[..], &b"\xc0"[..]),
        (Cbor, b"\x81", b"\xf6"),
        (MsgPack, b"\x81\xc0", b"\xc0"),
        (Cbor, b"\xbf\x00", b"\xf6"),
    ] {
        let nested = |depth: usize| {
            let ends = if open == b"\xbf\x00" { depth } else { 0 };
            [open.repeat(depth), close.to_vec(), b"\xff".repeat(ends)].concat()
        };
        assert!(convert(&nested(128), from, Json).is_ok(), "{from:?}");
        let reason = Err("its arrays and maps are nested more than 128 deep");
        assert_eq!(convert(&nested(129), from, Json), reason, "{from:?}");
        // Not the stack's matter either.
        assert_eq!(convert(&nested(1 << 20), from, Json), reason, "{from:?}");
    }
}

#[test]
fn what_json_says_in_binary() {
    for (json, msgpack, cbor) in [
        (r#" [ 1 , "a" ] "#, "9201a161", "82016161"),
        (r#""\u0000AQIDBA==""#, "c40401020304", "4401020304"),
        // No base64: text that begins with U+0000.
        (r#""\u0000AQ""#, "a3004151", "63004151"),
        (r#""\ud83d\ude00\n""#, "a5f09f98800a", "65f09f98800a"),
        // A surrogate alone is no character.
        (r#""\ud800x""#, "a4efbfbd78", "64efbfbd78"),
        (r#""\ud800\u0041""#, "a4efbfbd41", "64efbfbd41"),
        (
            "9007199254740993",
            "cf0020000000000001",
            "1b0020000000000001",
        ),
        (
            "18446744073709551615",
            "cfffffffffffffffff",
            "1bffffffffffffffff",
        ),
        (
            "18446744073709551616",
            "cb43f0000000000000",
            "fb43f0000000000000",
        ),
        (
            "-9223372036854775808",
            "d38000000000000000",
            "3b7fffffffffffffff",
        ),
        ("-0", "cb8000000000000000", "fb8000000000000000"),
        ("1.0", "cb3ff0000000000000", "fb3ff0000000000000"),
        ("1e999", "cb7ff0000000000000", "fb7ff0000000000000"),
        ("{\"a\":{},\"a\":[]}", "82a16180a16190", "a26161a0616180"),
    ] {
        assert_eq!(
            convert(json.as_bytes(), Json, MsgPack),
            Ok(unhex(msgpack)),
            "{json}"
        );
        assert_eq!(
            convert(json.as_bytes(), Json, Cbor),
            Ok(unhex(cbor)),
            "{json}"
        );
    }
    // Lengths on both sides of each form.
    for count in [15, 16, 23, 24, 255, 256, 65_535, 65_536] {
        for json in [
            format!("[{}1]", "1,".repeat(count - 1)),
            format!("{{{}\"a\":1}}", "\"a\":1,".repeat(count - 1)),
            format!("\"{}\"", "x".repeat(count)),
        ] {
            for to in [MsgPack, Cbor] {
                let there = convert(json.as_bytes(), Json, to).expect("JSON");
                let back = convert(&there, to, Json).expect("just written");
                assert!(back == json.as_bytes(), "{count} in {to:?}");
            }
        }
    }
}

#[test]
fn integers_that_messagepack_has_not_are_doubles() {
    let there = convert(&unhex("3bffffffffffffffff"), Cbor, MsgPack);
    assert_eq!(there, Ok(unhex("cbc3f0000000000000")));
}

/// Any JSON that is the same in all three: strings that are no bytes, doubles with a fraction.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // serde_json reads other doubles not to the last digit.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 16.0)),
        "[^\u{0}]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map("[^\u{0}]{0,8}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn values_come_back_from_everywhere(value in any_json()) {
        let json = value.to_string().into_bytes();
        let mut at = (json.clone(), Json);
        for to in [MsgPack, Cbor, MsgPack, Json, Cbor, Json] {
            at = (convert(&at.0, at.1, to).expect("a value"), to);
        }
        // serde_json is the second opinion on both ends.
        prop_assert_eq!(serde_json::from_slice::<Value>(&at.0).expect("JSON"), value);
        prop_assert_eq!(at.0, json);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        for from in [MsgPack, Cbor] {
            for to in Serializer::ALL {
                let there = convert(&bytes, from, to);
                if to != from && let Ok(there) = there {
                    prop_assert!(there.len() <= 8 * bytes.len());
                    prop_assert!(convert(&there, to, from).is_ok());
                }
            }
        }
    }
}
