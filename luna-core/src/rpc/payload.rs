//! A payload that has arrived whole, as handlers get it.

use core::fmt;

use super::frame::HEADER_LEN;
use super::stream::FragVec;
use crate::zbuf::{Frag, Zbuf};

/// Most bytes of metadata and payload together that can be sent by copying: with its head such a frame is a small message of
/// [`Cx::send_message`](crate::stack::Cx::send_message).
pub const MAX_COPIED: usize = 256 - HEADER_LEN;

/// A payload that has arrived whole, in the objs that it arrived in, never foreign. A callback reads it
/// ([`Payload::pieces`]), sends it out again ([`SessionCx::reply_payload`](super::SessionCx::reply_payload)) or takes it
/// ([`Payload::into_frags`]). What it leaves is dropped.
///
/// A small one is only lent: an obj with many small messages is not counted up and down for each.
pub struct Payload<'a> {
    /// Empty while the payload is lent.
    list: &'a mut FragVec,
    lent: Option<Lent<'a>>,
}

/// Bytes of an obj that somebody else holds.
#[derive(Clone, Copy)]
struct Lent<'a> {
    obj: &'a Zbuf,
    /// Part of `obj`.
    bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// What `list` holds.
    #[inline(always)]
    pub(super) fn owned(list: &'a mut FragVec) -> Self {
        Self { list, lent: None }
    }

    /// `bytes`, which are part of `obj`; `list` is empty.
    #[inline(always)]
    pub(super) fn lent(list: &'a mut FragVec, obj: &'a Zbuf, bytes: &'a [u8]) -> Self {
        Self { list, lent: Some(Lent { obj, bytes }) }
    }

    /// The bytes, if they are only lent: few, and in one piece.
    #[inline(always)]
    pub(super) fn lent_bytes(&self) -> Option<&'a [u8]> {
        self.lent.map(|lent| lent.bytes)
    }

    /// Bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u32 {
        match self.lent {
            Some(lent) => lent.bytes.len() as u32,
            None => self.list.iter().map(Frag::len).sum(),
        }
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, piece by piece.
    #[inline]
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let lent = self.lent.iter().map(|lent| lent.bytes);
        lent.chain(self.list.iter().map(|frag| frag.bytes().unwrap_or_default()))
    }

    /// The payload as an I/O vector, which can be kept and sent; a reference to each obj goes with it.
    #[inline]
    pub fn frags(&mut self) -> &mut FragVec {
        if let Some(Lent { obj, bytes }) = self.lent.take()
            && !bytes.is_empty()
        {
            let mut taken = obj.clone();
            taken.trim_front((bytes.as_ptr().addr() - obj.as_ref().as_ptr().addr()) as u32);
            taken.truncate(bytes.len() as u32);
            let kept = self.list.push(Frag::from(taken));
            debug_assert!(kept.is_ok(), "an empty list");
        }
        self.list
    }

    /// [`Payload::frags`], for as long as the callback.
    #[inline]
    pub fn into_frags(mut self) -> &'a mut FragVec {
        self.frags();
        self.list
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("len", &self.len()).field("lent", &self.lent.is_some()).finish()
    }
}
