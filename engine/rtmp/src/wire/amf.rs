//! AMF0 values, written in the order given and read within bounds.
//!
//! Ours and not the `rml_amf0` crate's: its objects are hash maps, so that one connect command is
//! never twice the same bytes, and its reader recurses as deep as the peer nests (a 64 KiB message
//! of strict arrays overflows the stack, which ends the process) and takes a short string for a
//! whole one. "AMF0" here is Adobe's *Action Message Format, AMF 0* (December 2007).

use bytes::BufMut;

use super::cursor::Cursor;
use super::limits::{AMF_DEPTH_MAX, AMF_VALUES_MAX};

/// An AMF0 value. Objects keep the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Marker 0: a double (AMF0 2.2).
    Number(f64),
    /// Marker 1 (2.3).
    Boolean(bool),
    /// Longer than 65 535 bytes it is written as a long string.
    String(String),
    /// Marker 3: properties in their order (2.5).
    Object(Vec<(String, Value)>),
    /// Marker 8: an associative array (2.10).
    EcmaArray(Vec<(String, Value)>),
    /// Marker 10 (2.12).
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970 in UTC.
    Date(f64),
    /// Marker 5 (2.7).
    Null,
    /// Marker 6 (2.8).
    Undefined,
}

/// The peer sent AMF0 that cannot be read; the peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmfError {
    /// The message ends within a value.
    #[error("the AMF0 value ends in the middle")]
    Truncated,
    /// A type that RTMP peers do not use.
    #[error("AMF0 marker {marker:#04x} is not known")]
    UnknownMarker {
        /// The type marker (2.1).
        marker: u8,
    },
    /// Nested deeper than any message that is known.
    #[error("AMF0 values are nested deeper than {AMF_DEPTH_MAX}")]
    TooDeep,
    /// More values than any message that is known.
    #[error("the message holds more than {AMF_VALUES_MAX} AMF0 values")]
    TooMany,
    /// Text is UTF-8 (1.3.1).
    #[error("an AMF0 string is not UTF-8")]
    NotUtf8,
}

mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0A;
    pub(super) const DATE: u8 = 0x0B;
    pub(super) const LONG_STRING: u8 = 0x0C;
}

impl Value {
    /// An object from keys and values, in this order.
    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::Object(own(properties))
    }

    /// An ECMA array from keys and values, in this order.
    pub fn ecma_array<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::EcmaArray(own(properties))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The keys and values of an object or ECMA array.
    pub fn properties(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) => Some(properties),
            _ => None,
        }
    }

    /// The first property of this name in an object or ECMA array.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.properties()?
            .iter()
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Appends the value to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.put_u8(marker::NUMBER);
                out.put_f64(*number);
            }
            Self::Boolean(truth) => out.put_slice(&[marker::BOOLEAN, u8::from(*truth)]),
            Self::String(text) => write_string(text, out),
            Self::Object(properties) => {
                out.put_u8(marker::OBJECT);
                write_properties(properties, out);
            }
            Self::EcmaArray(properties) => {
                out.put_u8(marker::ECMA_ARRAY);
                out.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
                write_properties(properties, out);
            }
            Self::StrictArray(values) => {
                out.put_u8(marker::STRICT_ARRAY);
                out.put_u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
                values.iter().for_each(|value| value.write(out));
            }
            Self::Date(unix_ms) => {
                out.put_u8(marker::DATE);
                out.put_f64(*unix_ms);
                // The time zone is reserved and shall be 0 (AMF0 2.13).
                out.put_i16(0);
            }
            Self::Null => out.put_u8(marker::NULL),
            Self::Undefined => out.put_u8(marker::UNDEFINED),
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

fn own<const N: usize>(properties: [(&str, Value); N]) -> Vec<(String, Value)> {
    properties
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    if let Ok(len) = u16::try_from(text.len()) {
        out.put_u8(marker::STRING);
        out.put_u16(len);
    } else {
        out.put_u8(marker::LONG_STRING);
        out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }
    out.put_slice(text.as_bytes());
}

/// Keys have no long form: one that is empty (it would read as the end) or too long is left out.
fn write_properties(properties: &[(String, Value)], out: &mut Vec<u8>) {
    for (key, value) in properties {
        if let (Ok(len), false) = (u16::try_from(key.len()), key.is_empty()) {
            out.put_u16(len);
            out.put_slice(key.as_bytes());
            value.write(out);
        }
    }
    out.put_slice(&[0, 0, marker::OBJECT_END]);
}

/// Writes values one after the other.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    values.iter().for_each(|value| value.write(&mut out));
    out
}

/// Reads values until the end of the input.
///
/// # Errors
/// When the input is not AMF0, or nests or counts more than the limits allow.
pub fn decode(input: &[u8]) -> Result<Vec<Value>, AmfError> {
    let (values, error) = decode_prefix(input);
    error.map_or(Ok(values), Err)
}

/// Reads values until the end of the input or the first that cannot be read, and says why it
/// stopped. Commands of real servers carry odd values behind the ones that matter.
pub fn decode_prefix(input: &[u8]) -> (Vec<Value>, Option<AmfError>) {
    let mut reader = Reader {
        cursor: Cursor::new(input),
        values_left: AMF_VALUES_MAX,
    };
    let mut values = Vec::new();
    while !reader.cursor.is_empty() {
        match reader.value(AMF_DEPTH_MAX) {
            Ok(value) => values.push(value),
            Err(error) => return (values, Some(error)),
        }
    }
    (values, None)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    values_left: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth_left: usize) -> Result<Value, AmfError> {
        self.values_left = self.values_left.checked_sub(1).ok_or(AmfError::TooMany)?;
        let depth_left = depth_left.checked_sub(1).ok_or(AmfError::TooDeep)?;
        match self.cursor.u8().ok_or(AmfError::Truncated)? {
            marker::NUMBER => self.number().map(Value::Number),
            marker::BOOLEAN => self
                .cursor
                .u8()
                .map(|byte| Value::Boolean(byte != 0))
                .ok_or(AmfError::Truncated),
            marker::STRING => self.string().map(Value::String),
            marker::LONG_STRING => {
                let len = self.cursor.u32().ok_or(AmfError::Truncated)?;
                self.text(len as usize).map(Value::String)
            }
            marker::OBJECT => self.properties(depth_left).map(Value::Object),
            marker::ECMA_ARRAY => {
                // The count is advice only: the list ends by its own marker (AMF0 2.10).
                self.cursor.u32().ok_or(AmfError::Truncated)?;
                self.properties(depth_left).map(Value::EcmaArray)
            }
            marker::STRICT_ARRAY => self.strict_array(depth_left),
            marker::DATE => {
                let unix_ms = self.number()?;
                self.cursor.u16().ok_or(AmfError::Truncated)?;
                Ok(Value::Date(unix_ms))
            }
            marker::NULL => Ok(Value::Null),
            marker::UNDEFINED => Ok(Value::Undefined),
            marker => Err(AmfError::UnknownMarker { marker }),
        }
    }

    fn number(&mut self) -> Result<f64, AmfError> {
        self.cursor.f64().ok_or(AmfError::Truncated)
    }

    fn string(&mut self) -> Result<String, AmfError> {
        let len = self.cursor.u16().ok_or(AmfError::Truncated)?;
        self.text(usize::from(len))
    }

    fn text(&mut self, len: usize) -> Result<String, AmfError> {
        let bytes = self.cursor.take(len).ok_or(AmfError::Truncated)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| AmfError::NotUtf8)
    }

    fn properties(&mut self, depth_left: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut properties = Vec::new();
        loop {
            let key = self.string()?;
            if key.is_empty() {
                return match self.cursor.u8().ok_or(AmfError::Truncated)? {
                    marker::OBJECT_END => Ok(properties),
                    marker => Err(AmfError::UnknownMarker { marker }),
                };
            }
            properties.push((key, self.value(depth_left)?));
        }
    }

    fn strict_array(&mut self, depth_left: usize) -> Result<Value, AmfError> {
        let count = self.cursor.u32().ok_or(AmfError::Truncated)?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth_left)?);
        }
        Ok(Value::StrictArray(values))
    }
}
