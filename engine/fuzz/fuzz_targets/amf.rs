//! Any bytes as AMF0 values, and as a command in AMF0 or in the AMF3 envelope: what is read is within its bounds,
//! and written again it is read as the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shardcast_rtmp::{
    Message,
    amf::{self, Value},
    command::Command,
    enhanced,
    limits::{AMF_DEPTH_MAX, AMF_VALUES_MAX},
    message::type_id,
};

/// Values in it, its own included, and how deep they are nested.
fn measure(value: &Value) -> (usize, usize) {
    let children: Vec<&Value> = match value {
        Value::Object(properties) | Value::EcmaArray(properties) => {
            properties.iter().map(|(_, value)| value).collect()
        }
        Value::StrictArray(values) => values.iter().collect(),
        _ => Vec::new(),
    };
    let (counts, depths): (Vec<usize>, Vec<usize>) = children.into_iter().map(measure).unzip();
    let depth = depths.into_iter().max().unwrap_or(0);
    (1 + counts.into_iter().sum::<usize>(), 1 + depth)
}

fuzz_target!(|data: &[u8]| {
    let (values, error) = amf::decode_prefix(data);
    assert_eq!(amf::decode(data).is_err(), error.is_some());
    let (counts, depths): (Vec<usize>, Vec<usize>) = values.iter().map(measure).unzip();
    assert!(counts.into_iter().sum::<usize>() <= AMF_VALUES_MAX);
    assert!(depths.into_iter().all(|depth| depth <= AMF_DEPTH_MAX));

    // Compared as bytes: NaN is not equal to itself.
    let written = amf::encode(&values);
    let again = amf::decode(&written).unwrap();
    assert_eq!(amf::encode(&again), written);
    let _ = enhanced::takes_opus(&values);

    for type_id in [type_id::COMMAND_AMF0, type_id::COMMAND_AMF3] {
        let message = Message {
            csid: 3,
            timestamp_ms: 0,
            type_id,
            stream_id: 0,
            payload: Bytes::copy_from_slice(data),
        };
        if let Ok(command) = Command::from_message(&message).unwrap() {
            let _ = (
                command.text("app"),
                command.first_text(),
                command.first_number(),
            );
            let written = command.encode();
            let again = Command::from_message(&Message {
                type_id: type_id::COMMAND_AMF0,
                payload: written.clone(),
                ..message
            });
            assert_eq!(again.unwrap().unwrap().encode(), written);
        }
    }
});
