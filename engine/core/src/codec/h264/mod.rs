//! H.264 between the browser's form and the one in which it is kept and sent on.
//!
//! A browser's access unit arrives in Annex B (start codes, parameter sets before each keyframe);
//! RTMP and MP4 want length-prefixed NAL units with the parameter sets told apart. [`VideoUnit`] turns one
//! into the other in one pass, which is the only copy of a video payload in the product.
//!
//! Clause numbers are those of ITU-T H.264 (08/2021).

mod adopt;
pub(crate) mod bits;
mod cabac_skip;
mod limits;
mod nal;
mod parameter_sets;
mod picture_order;
mod record;
mod repeater;
mod rtp_payload;
mod slice_header;
mod sps;
mod still;
mod syntax;
mod unit;

pub use adopt::{AdoptError, adopt, renumber};
pub use limits::{PICTURE_SIDE_PIXELS_MAX, PPS_COUNT_MAX, UNIT_BYTES_MAX};
pub use nal::{NalType, annex_b, nal_type};
pub use parameter_sets::{ParameterSets, ParameterSetsError};
pub use picture_order::{OrderCounter, OrderSyntax};
pub use record::{DecoderRecord, RecordError};
pub use repeater::{RepeatError, Repeater};
pub use rtp_payload::{RTP_PAYLOAD_BYTES_MAX, RtpPayloads, rtp_payloads};
pub use slice_header::SliceError;
pub use sps::{Sps, SpsError};
pub use still::{StillFrame, StillFrameTarget};
pub use syntax::SyntaxError;
pub use unit::{UnitError, VideoUnit};
