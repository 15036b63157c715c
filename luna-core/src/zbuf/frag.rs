//! A fragment: what an I/O vector of a send is made of, a [`Zbuf`] or a [`Foreign`] buffer, in 16 bytes.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use static_assertions::{assert_not_impl_any, const_assert_eq};

use super::foreign::Foreign;
use super::handle::{Zbuf, add_reference, drop_reference};
use super::head::{FrameHead, LEAD_LEN};
use super::region::{DeviceKey, IoAddr};
use crate::parts;

const FOREIGN: u32 = 1 << 31;
const HEADER: u32 = 1 << 30;
const LEAD: u32 = 1 << 29;
const LEN: u32 = LEAD - 1;

/// A piece of data to send. The two kinds share one 16-byte shape; the length's upper bits tell which it is.
#[repr(C)]
pub struct Frag {
    /// Zbuf: first byte. Foreign: the descriptor.
    ptr: NonNull<u8>,
    len_tag: u32,
    /// Zbuf: obj index. Foreign: offset.
    extra: u32,
    not_send: PhantomData<*const ()>,
}

const_assert_eq!(size_of::<Frag>(), 16);
const_assert_eq!(size_of::<Option<Frag>>(), 16);
assert_not_impl_any!(Frag: Send, Sync);

impl Frag {
    /// A fragment that holds a protocol header of the layer above (an RPC frame's head): small, and copied behind the
    /// TCP header rather than chained. Such copies are counted apart from payload copies.
    #[must_use]
    #[inline]
    pub fn header(buf: Zbuf) -> Self {
        let mut frag = Self::from(buf);
        frag.len_tag |= HEADER;
        frag
    }

    /// Bytes of an obj of ours; a protocol head, if `header`.
    ///
    /// # Safety
    /// `ptr..ptr + len` lies in the data area of obj `obj`, is not written while this lives, and the caller gives one
    /// reference away.
    #[inline(always)]
    pub(super) unsafe fn of_obj(ptr: NonNull<u8>, len: u32, obj: u32, header: bool) -> Self {
        let tag = if header { HEADER } else { 0 };
        Self { ptr, len_tag: len & LEN | tag, extra: obj, not_send: PhantomData }
    }

    /// It begins right behind [`LEAD_LEN`] bytes that are kept for headers.
    ///
    /// # Safety
    /// It is of an obj of ours, the first fragment of that obj ever made, and nobody uses the bytes before it.
    #[inline(always)]
    pub(super) unsafe fn with_lead(mut self) -> Self {
        self.len_tag |= LEAD;
        self
    }

    /// Whether [`Frag::take_lead`] has something to give.
    #[inline(always)]
    pub(crate) fn leads(&self) -> bool {
        self.len_tag & LEAD != 0
    }

    /// The room for headers before its first byte, and behind it up to `most` bytes of the fragment itself. Once: what a
    /// device reads is not written again.
    #[inline(always)]
    pub(crate) fn take_lead(&mut self, most: u32) -> Option<FrameHead> {
        if self.len_tag & LEAD == 0 {
            return None;
        }
        self.len_tag &= !LEAD;
        let len = self.len().min(most);
        // SAFETY: the tag, now gone, said that these bytes are before it in the same obj and nobody's, and that no head of
        // the obj was made before. Our reference keeps the obj.
        unsafe { Some(FrameHead::leading(self.ptr.sub(LEAD_LEN), LEAD_LEN as u32 + len, self.extra)) }
    }

    /// Whether `at`, in obj `obj`, is right behind its last byte.
    #[inline(always)]
    pub(super) fn ends_at(&self, at: NonNull<u8>, obj: u32) -> bool {
        // Of a foreign fragment it is another address altogether: descriptors lie in objs of their own.
        self.extra == obj && !self.is_foreign() && self.ptr.addr().get() + self.len() as usize == at.addr().get()
    }

    /// Makes the next `n` bytes part of it; it is not only a head then.
    ///
    /// # Safety
    /// They are in the same obj, and nobody writes them while this lives.
    #[inline(always)]
    pub(super) unsafe fn grow(&mut self, n: u32) {
        debug_assert!(!self.is_foreign());
        self.len_tag = (self.len_tag & !HEADER) + n;
    }

    /// Whether it was made by [`Frag::header`].
    #[must_use]
    #[inline(always)]
    pub fn is_header(&self) -> bool {
        self.len_tag & HEADER != 0
    }

    /// Whether it is foreign memory.
    #[must_use]
    #[inline(always)]
    pub fn is_foreign(&self) -> bool {
        parts::FOREIGN && self.len_tag & FOREIGN != 0
    }

    /// Length in bytes.
    #[must_use]
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.len_tag & LEN
    }

    /// Whether there are no bytes.
    #[must_use]
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, when they are in one of our objs.
    #[must_use]
    #[inline(always)]
    pub fn bytes(&self) -> Option<&[u8]> {
        if self.is_foreign() {
            return None;
        }
        // SAFETY: the tag says that this was made from a Zbuf: a view of an initialised obj that we hold.
        Some(unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len() as usize) })
    }

    /// The length, or more than any length for a header's or foreign memory.
    #[inline(always)]
    pub(crate) fn tagged_len(&self) -> u32 {
        self.len_tag
    }

    /// Drops it, in line: the compiler would make a function of its own of the drop of an `Option`.
    #[inline(always)]
    pub(crate) fn release(self) {
        if self.is_foreign() {
            // By value: a handle whose address is asked for has to be in memory.
            discard_foreign(self);
        } else {
            let this = ManuallyDrop::new(self);
            // SAFETY: this handle's reference to its obj, dropped once: `ManuallyDrop` does not do it again.
            unsafe { drop_reference(this.ptr, this.extra) };
        }
    }

    /// Neither header nor foreign, and longer than `n`: one comparison of the tagged length.
    #[inline(always)]
    pub(crate) fn is_plain(&self, n: u32) -> bool {
        (self.len_tag & !LEAD).wrapping_sub(n + 1) < LEAD - (n + 1)
    }

    /// A part of it with a reference of its own: `len` bytes (at most what is there) from `start`.
    #[must_use]
    #[inline]
    pub fn slice(&self, start: u32, len: u32) -> Self {
        if self.is_foreign() {
            return self.slice_foreign(start, len);
        }
        let start = start.min(self.len());
        let len = len.min(self.len() - start);
        // An empty slice keeps the first byte: a pointer to the end might be the next zone's.
        let skip = if len == 0 { 0 } else { start as usize };
        // SAFETY: our reference keeps the obj alive, and `start + len` is inside the view.
        let ptr = unsafe {
            add_reference(self.ptr, self.extra);
            self.ptr.add(skip)
        };
        Self { ptr, len_tag: len | self.len_tag & HEADER, extra: self.extra, not_send: PhantomData }
    }

    #[cold]
    fn slice_foreign(&self, start: u32, len: u32) -> Self {
        let mut part = Foreign::clone(&self.as_foreign());
        part.trim_front(start);
        part.truncate(len);
        Self::from(part)
    }

    fn as_foreign(&self) -> ManuallyDrop<Foreign> {
        debug_assert!(self.is_foreign());
        // SAFETY: the tag says that the parts are a Foreign's; ManuallyDrop keeps its reference with `self`.
        ManuallyDrop::new(unsafe { Foreign::from_parts(self.ptr, self.len(), self.extra) })
    }

    /// Drops a foreign fragment's reference; the fragment is not used any more.
    #[cold]
    #[inline(never)]
    fn drop_foreign(&mut self) {
        drop(ManuallyDrop::into_inner(self.as_foreign()));
    }

    /// The typed handle again.
    ///
    /// # Errors
    /// The foreign buffer, when it is one.
    #[inline]
    pub fn into_zbuf(self) -> Result<Zbuf, Foreign> {
        let this = ManuallyDrop::new(self);
        // SAFETY: the tag says which of the two the parts belong to; the reference goes along.
        unsafe {
            if this.is_foreign() {
                Err(Foreign::from_parts(this.ptr, this.len(), this.extra))
            } else {
                Ok(Zbuf::adopt(this.ptr, this.len(), this.extra))
            }
        }
    }

    /// Looks at a foreign fragment.
    pub fn with_foreign<R>(&self, look: impl FnOnce(&Foreign) -> R) -> Option<R> {
        self.is_foreign().then(|| look(&self.as_foreign()))
    }

    /// Copies the bytes to the start of `dst` (as many as fit); `None` when the memory was revoked. Callers count.
    #[inline]
    pub fn copy_to(&self, dst: &mut [u8]) -> Option<usize> {
        match self.bytes() {
            Some(src) => {
                let n = src.len().min(dst.len());
                dst.get_mut(..n)?.copy_from_slice(src.get(..n)?);
                Some(n)
            }
            None => self.as_foreign().copy_to(dst),
        }
    }

    /// Bus address of the first byte, when it is in one of our objs; the bytes that follow are contiguous on the bus.
    #[must_use]
    #[inline(always)]
    pub fn io_addr(&self) -> Option<IoAddr> {
        // SAFETY: the tag says that this points into an obj of one of our zones.
        (!self.is_foreign()).then(|| unsafe { super::zone::ZoneRef::of(self.ptr) }.io_addr(self.ptr))
    }

    /// Device key of the region.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        if self.is_foreign() {
            return self.as_foreign().device_key();
        }
        // SAFETY: the tag says that this points into an obj of one of our zones.
        unsafe { super::zone::ZoneRef::of(self.ptr) }.key()
    }

    /// Whether it is foreign memory that was revoked.
    #[must_use]
    #[inline(always)]
    pub fn is_revoked(&self) -> bool {
        self.is_foreign() && self.as_foreign().is_revoked()
    }
}

#[cold]
#[inline(never)]
fn discard_foreign(frag: Frag) {
    drop(frag);
}

/// A fragment, or part of one, lent for the length of a call: no reference is taken. Whoever needs the memory for longer
/// takes one with [`FragRef::to_frag`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct FragRef<'a> {
    ptr: NonNull<u8>,
    len_tag: u32,
    extra: u32,
    lent: PhantomData<&'a Frag>,
}

const_assert_eq!(size_of::<FragRef<'_>>(), size_of::<Frag>());
const_assert_eq!(align_of::<FragRef<'_>>(), align_of::<Frag>());
assert_not_impl_any!(FragRef<'static>: Send, Sync);

impl Frag {
    /// All of it, lent.
    #[must_use]
    #[inline(always)]
    pub fn lend(&self) -> FragRef<'_> {
        FragRef { ptr: self.ptr, len_tag: self.len_tag, extra: self.extra, lent: PhantomData }
    }

    /// What a fragment of our own objs has from `start` on, at most `most` bytes of it.
    #[inline(always)]
    pub(crate) fn lend_rest(&self, start: u32, most: u32) -> FragRef<'_> {
        debug_assert!(!self.is_foreign() && start < self.len());
        // Never the end: that might be the next zone's first byte.
        let start = start.min(self.len().saturating_sub(1));
        let len_tag = most.min(self.len() - start);
        // SAFETY: of our own objs, so this points into one, and `start` is inside the view.
        let ptr = unsafe { self.ptr.add(start as usize) };
        FragRef { ptr, len_tag, extra: self.extra, lent: PhantomData }
    }
}

impl FragRef<'_> {
    /// The same bytes with a reference of its own.
    #[must_use]
    #[inline(always)]
    pub fn to_frag(&self) -> Frag {
        Frag::clone(self)
    }
}

impl core::ops::Deref for FragRef<'_> {
    type Target = Frag;
    #[inline(always)]
    fn deref(&self) -> &Frag {
        // SAFETY: the same fields in the same C layout, and a fragment that a reference is held to while this is lent.
        // A shared reference is never dropped as a fragment.
        unsafe { &*core::ptr::from_ref(self).cast::<Frag>() }
    }
}

impl fmt::Debug for FragRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Empties `list` from the front. Who does not take all of them leaks the rest. An iterator rather than a function with a
/// closure: a closure becomes a function of its own, called for each.
#[inline(always)]
pub(crate) fn drain_all(list: &mut heapless::VecView<Frag>) -> impl Iterator<Item = Frag> + '_ {
    let n = list.len();
    // SAFETY: no elements are always initialised. Those that were are moved out below, once each.
    unsafe { list.set_len(0) };
    Drained { list, at: 0, n }
}

struct Drained<'a> {
    list: &'a mut heapless::VecView<Frag>,
    at: usize,
    n: usize,
}

impl Iterator for Drained<'_> {
    type Item = Frag;

    #[inline(always)]
    fn next(&mut self) -> Option<Frag> {
        if self.at == self.n {
            return None;
        }
        // SAFETY: below the old length, so initialised and inside the vector's memory, which is borrowed; moved out once.
        let frag = unsafe { self.list.as_ptr().add(self.at).read() };
        self.at += 1;
        Some(frag)
    }
}

impl From<Zbuf> for Frag {
    #[inline(always)]
    fn from(buf: Zbuf) -> Self {
        let (ptr, len, obj) = buf.into_parts();
        Self { ptr, len_tag: len & LEN, extra: obj, not_send: PhantomData }
    }
}

impl From<Foreign> for Frag {
    fn from(buf: Foreign) -> Self {
        let (ptr, len, offset) = buf.into_parts();
        Self { ptr, len_tag: len & LEN | FOREIGN, extra: offset, not_send: PhantomData }
    }
}

impl Clone for Frag {
    #[inline]
    fn clone(&self) -> Self {
        self.slice(0, self.len())
    }
}

impl Drop for Frag {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_foreign() {
            self.drop_foreign();
        } else {
            // SAFETY: this handle's reference to its obj, dropped once.
            unsafe { drop_reference(self.ptr, self.extra) };
        }
    }
}

impl fmt::Debug for Frag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_foreign() { "foreign" } else { "zbuf" };
        write!(f, "Frag({kind}, {} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests;
