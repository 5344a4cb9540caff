//! Commands and data messages: a name, a transaction, AMF0 values (RTMP specification 7.1.1).

use std::fmt;

use bytes::Bytes;

use super::amf::{self, AmfError, Value};
use super::message::{Message, type_id};

/// A command message. `Debug` leaves the arguments out, since they hold keys.
#[derive(Clone, PartialEq)]
pub struct Command {
    /// `connect`, `_result`, `onStatus`, …
    pub name: String,
    /// 0 where no answer is wanted.
    pub transaction: f64,
    /// Begins with the command object, which is null for most.
    pub arguments: Vec<Value>,
}

impl Command {
    /// A command with everything behind its transaction as arguments.
    pub fn new(name: &str, transaction: f64, arguments: Vec<Value>) -> Self {
        Self {
            name: name.to_owned(),
            transaction,
            arguments,
        }
    }

    /// Reads a message of type 20, or of type 17 as long as it holds AMF0 behind its first byte,
    /// which is how it is used in practice. `None` for other types.
    ///
    /// # Errors
    /// When there is no name. What cannot be read behind the name and transaction is left out.
    pub fn from_message(message: &Message) -> Option<Result<Self, AmfError>> {
        match message.type_id {
            type_id::COMMAND_AMF0 => Some(Self::decode(&message.payload)),
            type_id::COMMAND_AMF3 => Some(Self::decode(message.payload.get(1..).unwrap_or(&[]))),
            _ => None,
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, AmfError> {
        let (values, error) = amf::decode_prefix(payload);
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (Some(Value::String(name)), Some(Value::Number(transaction))) => Ok(Self {
                name,
                transaction,
                arguments: values.collect(),
            }),
            (Some(Value::String(name)), None) if error.is_none() => Ok(Self {
                name,
                transaction: 0.0,
                arguments: Vec::new(),
            }),
            _ => Err(error.unwrap_or(AmfError::Truncated)),
        }
    }

    /// The payload of a message of type 20.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(256);
        Value::from(self.name.as_str()).write(&mut out);
        Value::Number(self.transaction).write(&mut out);
        self.arguments
            .iter()
            .for_each(|argument| argument.write(&mut out));
        Bytes::from(out)
    }

    /// A text in the first object among the arguments that has it, such as `code` of `onStatus`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.arguments
            .iter()
            .find_map(|argument| argument.get(key)?.as_str())
    }

    /// The first text among the arguments.
    pub fn first_text(&self) -> Option<&str> {
        self.arguments.iter().find_map(Value::as_str)
    }

    /// The first number among the arguments.
    pub fn first_number(&self) -> Option<f64> {
        self.arguments.iter().find_map(Value::as_number)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Command({} {}, {} arguments)",
            self.name,
            self.transaction,
            self.arguments.len()
        )
    }
}
