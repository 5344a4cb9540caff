//! In place of x264, in a build without it.

use super::Coded;
use super::colours::Matrix;
use super::picture::Picture;
use crate::MediaError;
use shardcast_link::{Preset, RenditionSpec};

/// This build has no H.264 encoder; there is never one of these.
#[derive(Debug)]
pub enum VideoEncoder {}

impl VideoEncoder {
    /// # Errors
    /// Always [`MediaError::NoEncoder`].
    pub fn new(_: u32, _: u32, _: &RenditionSpec, _: &Picture) -> Result<Self, MediaError> {
        Err(MediaError::NoEncoder)
    }

    /// # Errors
    /// Always [`MediaError::NoEncoder`].
    pub(crate) fn open(_: u32, _: u32, _: &RenditionSpec, _: Matrix) -> Result<Self, MediaError> {
        Err(MediaError::NoEncoder)
    }

    /// # Errors
    /// None, for it is never called.
    pub fn encode(&mut self, _: &Picture, _: bool, _: &mut Vec<u8>) -> Result<Coded, MediaError> {
        match *self {}
    }

    /// Never called.
    pub fn throttle(&mut self, _: Preset, _: u32) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn preset(&self) -> Preset {
        match *self {}
    }
}
