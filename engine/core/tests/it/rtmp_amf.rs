//! Proves: AMF0 comes back as written and in order, another implementation reads and writes the
//! same, and hostile input is refused within bounds.

use std::collections::HashMap;

use proptest::prelude::*;
use rml_amf0::Amf0Value;
use shardcast_core::rtmp::amf::{AmfError, Value, decode, decode_prefix, encode};

#[test]
fn keys_keep_their_order() {
    let object = Value::object([("z", 1_u32.into()), ("a", "x".into()), ("m", true.into())]);
    let bytes = encode(&[object]);
    assert_eq!(
        bytes,
        b"\x03\0\x01z\0\x3F\xF0\0\0\0\0\0\0\0\x01a\x02\0\x01x\0\x01m\x01\x01\0\0\x09"
    );
}

#[test]
fn dates_and_long_strings_come_back() {
    let values = vec![
        Value::Date(1_700_000_000_000.0),
        Value::String("é".repeat(40_000)),
    ];
    assert_eq!(decode(&encode(&values)).unwrap(), values);
}

#[test]
fn nesting_without_end_is_refused() {
    // 13 000 strict arrays in each other, which fit one command message.
    let hostile = [0x0A, 0, 0, 0, 1].repeat(13_000);
    assert_eq!(decode(&hostile), Err(AmfError::TooDeep));
    let objects = [3, 0, 1, b'a'].repeat(16_000);
    assert_eq!(decode(&objects), Err(AmfError::TooDeep));
}

#[test]
fn more_values_than_a_message_needs_are_refused() {
    assert_eq!(decode(&[5; 60_000]), Err(AmfError::TooMany));
    let counted = [&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF][..], &[5; 60_000]].concat();
    assert_eq!(decode(&counted), Err(AmfError::TooMany));
}

#[test]
fn what_stands_before_the_unreadable_is_kept() {
    let mut bytes = encode(&["_result".into(), 1_u32.into()]);
    bytes.extend([0x11, 1, 2, 3]);
    let (values, error) = decode_prefix(&bytes);
    assert_eq!(values, ["_result".into(), 1_u32.into()]);
    assert_eq!(error, Some(AmfError::UnknownMarker { marker: 0x11 }));
    assert_eq!(decode(&[2, 0, 2, 0xFF, 0xFE]), Err(AmfError::NotUtf8));
    assert_eq!(decode(&[2, 0, 9, b'a']), Err(AmfError::Truncated));
}

proptest! {
    #[test]
    fn values_come_back_as_written(values in prop::collection::vec(value(), 0..6)) {
        prop_assert_eq!(decode(&encode(&values)).unwrap(), values);
    }

    #[test]
    fn the_other_implementation_reads_ours(values in prop::collection::vec(value(), 0..6)) {
        let theirs = rml_amf0::deserialize(&mut &encode(&values)[..]).unwrap();
        prop_assert_eq!(theirs, values.iter().map(to_theirs).collect::<Vec<_>>());
    }

    #[test]
    fn we_read_the_other_implementations(values in prop::collection::vec(value(), 0..6)) {
        let theirs: Vec<_> = values.iter().map(to_theirs).collect();
        let bytes = rml_amf0::serialize(&theirs).unwrap();
        let ours = decode(&bytes).unwrap();
        prop_assert_eq!(ours.iter().map(to_theirs).collect::<Vec<_>>(), theirs);
    }

    #[test]
    fn no_garbage_makes_it_panic(bytes in prop::collection::vec(0_u8..16, 0..300)) {
        let _ = decode(&bytes);
    }
}

/// Values that both implementations know: neither dates nor long strings, and no key twice.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-1e12..1e12).prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        "[a-zé ]{0,20}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::btree_map("[a-z]{1,8}", inner.clone(), 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            prop::collection::vec(inner, 0..4).prop_map(Value::StrictArray),
        ]
    })
}

fn to_theirs(value: &Value) -> Amf0Value {
    match value {
        Value::Number(number) => Amf0Value::Number(*number),
        Value::Boolean(truth) => Amf0Value::Boolean(*truth),
        Value::String(text) => Amf0Value::Utf8String(text.clone()),
        Value::Object(properties) | Value::EcmaArray(properties) => {
            let pairs = properties
                .iter()
                .map(|(key, value)| (key.clone(), to_theirs(value)));
            Amf0Value::Object(pairs.collect::<HashMap<_, _>>())
        }
        Value::StrictArray(values) => {
            Amf0Value::StrictArray(values.iter().map(to_theirs).collect())
        }
        Value::Null | Value::Date(_) => Amf0Value::Null,
        Value::Undefined => Amf0Value::Undefined,
    }
}
