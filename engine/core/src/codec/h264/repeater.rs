//! Pictures that show the last one again: the stream goes on while its publisher is away.
//!
//! Each is a P picture in one slice in which every macroblock is skipped, so it is the picture
//! before it, bit for bit, for some twenty bytes. It stands under the publisher's own parameter
//! sets and counts on from the publisher's last picture; a decoder sees one unbroken stream.

use bytes::{BufMut, Bytes};

use super::bits::{self, BitWriter};
use super::cabac_skip;
use super::nal::length_prefixed;
use super::parameter_sets::ParameterSets;
use super::slice_header::{
    Deblocking, HEADER_BYTES_MAX, Marking, SliceError, SliceHeader, SliceKind, is_slice,
};
use super::syntax::{PictureSyntax, Syntax, SyntaxError};

/// By how much `pic_order_cnt_lsb` grows from frame to frame: one for each field.
const ORDER_STEP: u32 = 2;

/// The publisher's stream cannot be carried on by repeating its last picture: its encoder uses a
/// tool that we do not follow. The remedy is another setting of the encoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepeatError {
    /// The parameter sets describe a stream that is not followed.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// The last picture is one that is not followed.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// `max_num_ref_frames` leaves the picture no place in the decoder (clause 8.2.5).
    #[error("the decoder does not keep the picture that would be repeated")]
    NoReferences,
    /// Long-term references are marked by commands that are not followed (clause 8.2.5.4).
    #[error("the last picture is kept as a long-term reference")]
    LongTerm,
}

/// Makes pictures that show the last one again.
///
/// A last picture that nobody may refer to (a layer that a server may leave out) cannot be
/// repeated; the one before it is.
#[derive(Clone, Debug)]
pub struct Repeater {
    syntax: Syntax,
    picture: PictureSyntax,
    /// `frame_num` and `pic_order_cnt_lsb` of the next picture.
    frame_num: u32,
    order_lsb: u32,
    /// References between the picture that is repeated and the next one.
    references_passed: u32,
    /// Slice data in CABAC, which is the same each time.
    cabac: Option<Bytes>,
}

impl Repeater {
    /// Goes on after this picture, the last one that is shown; `unit` as in
    /// [`VideoUnit::avcc`](super::VideoUnit::avcc). `references` pictures were sent behind it that
    /// are shown before it and are references (B-frames of a pyramid); others do not count.
    ///
    /// # Errors
    /// When the stream uses interlacing, slice groups, data partitions, picture order count type 1
    /// or long-term references, or the picture has B slices or is damaged.
    pub fn after(
        config: &ParameterSets,
        unit: &[u8],
        references: u32,
    ) -> Result<Self, RepeatError> {
        let syntax = Syntax::new(config.sps_nal(), config.pps_nals())?;
        if syntax.references_max <= references {
            return Err(RepeatError::NoReferences);
        }
        let last = last_picture(&syntax, unit)?;
        let picture = syntax
            .picture(last.pps)
            .ok_or(SliceError::UnknownPps(last.pps))?
            .clone();
        let cabac = picture
            .cabac
            .then(|| Bytes::from(cabac_skip::slice_data(syntax.macroblocks)));
        let mut repeater = Self {
            syntax,
            picture,
            frame_num: 0,
            order_lsb: 0,
            references_passed: references,
            cabac,
        };
        repeater.follow(&last)?;
        let frame_num_max = low_bits(repeater.syntax.frame_num_bits);
        repeater.frame_num = (repeater.frame_num + references) & frame_num_max;
        Ok(repeater)
    }

    /// The next picture, as in [`VideoUnit::avcc`](super::VideoUnit::avcc).
    pub fn repeat(&mut self) -> Bytes {
        let slice = SliceHeader {
            reference: 2,
            first_macroblock: 0,
            kind: SliceKind::P,
            pps: self.picture.id.into(),
            frame_num: self.frame_num,
            idr_pic_id: None,
            order_lsb: self.order_lsb,
            order_bottom: 0,
            redundant: 0,
            references_passed: std::mem::take(&mut self.references_passed),
            marking: Marking::SlidingWindow,
            qp: if self.picture.cabac {
                cabac_skip::SLICE_QP
            } else {
                self.picture.qp
            },
            // There is no edge that would be filtered; this spares the decoder the search.
            deblocking: Deblocking::OFF,
        };
        let mut payload = BitWriter::default();
        slice.write(&self.syntax, &self.picture, &mut payload);
        if let Some(data) = &self.cabac {
            payload.align(true);
            payload.bytes(data);
        } else {
            payload.ue(self.syntax.macroblocks); // mb_skip_run
            payload.trailing();
        }
        let mut nal = Vec::with_capacity(64);
        bits::put_nal_unit(slice.nal_header(), &payload.into_bytes(), &mut nal);
        self.advance();

        let mut unit = Vec::with_capacity(4 + nal.len());
        unit.put_u32(u32::try_from(nal.len()).unwrap_or(u32::MAX));
        unit.put_slice(&nal);
        Bytes::from(unit)
    }

    /// Counts on from a picture of the stream. Clause 7.4.3: `frame_num` grows after each picture
    /// that is a reference; one that is none already bears the number of the next.
    fn follow(&mut self, last: &SliceHeader) -> Result<(), RepeatError> {
        let (frame_num, order_lsb) = match last.marking {
            Marking::Idr {
                long_term: true, ..
            }
            | Marking::Commands {
                long_term: true, ..
            } => return Err(RepeatError::LongTerm),
            // Clause 7.4.3.3: afterwards it counts as a picture with both numbers 0.
            Marking::Commands { resets: true, .. } => (0, 0),
            _ => (last.frame_num, last.order_lsb),
        };
        self.frame_num = frame_num;
        self.order_lsb = order_lsb;
        self.advance();
        if last.marking == Marking::None {
            self.frame_num = frame_num;
        }
        Ok(())
    }

    fn advance(&mut self) {
        self.frame_num = (self.frame_num + 1) & low_bits(self.syntax.frame_num_bits);
        let order_bits = self.syntax.order_bits.unwrap_or_default();
        self.order_lsb = (self.order_lsb + ORDER_STEP) & low_bits(order_bits);
    }
}

fn low_bits(count: u32) -> u32 {
    (1 << count) - 1
}

/// The header of the picture's first slice. All slices are looked at: one kind that we do not
/// follow is enough for the whole picture.
fn last_picture(syntax: &Syntax, unit: &[u8]) -> Result<SliceHeader, SliceError> {
    let mut first = None;
    for nal in length_prefixed(unit) {
        if is_slice(nal)? {
            let payload = bits::payload(nal, HEADER_BYTES_MAX);
            let (slice, _) = SliceHeader::read(syntax, nal, &payload)?;
            first.get_or_insert(slice);
        }
    }
    first.ok_or(SliceError::Missing)
}
