//! HTTP calls to the backends of applications: what they hold, how they are signed, where they may go
//! and how many are made at a time. Which calls are made is decided in [`crate::webhooks`].

mod authenticator;
mod client;
mod form;
mod payload;
mod questions;
mod receiver_rules;
mod receivers;

pub(crate) use self::{
    authenticator::{Authenticator, Refusal, Verdict},
    client::{CallError, HookClient, causes, delivery_id, receiver, tls},
    form::{ClientMessage, Form},
    payload::{Reading, StreamEvent, fields},
    questions::Asker,
    receiver_rules::{ReceiverRules, refuse_deliveries},
    receivers::Receivers,
};
