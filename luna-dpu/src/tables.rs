//! A stack's tables as a static: sized at compile time, built in place at start-up, handed out once.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use luna_core::stack::{FlowEntry, Listener, Neighbor, Storage};
use luna_core::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry};
use spin::Once;

/// Memory for one stack: `C` connections, `F` flow entries (a power of two, at least 4/3 of `C`), `S` send entries,
/// `R` records of segments in flight, `O` out-of-order pieces.
///
/// ```
/// use luna_dpu::Tables;
/// static TABLES: Tables<64, 128, 1024, 1024, 128> = Tables::new();
/// let storage = TABLES.take().expect("the first time");
/// assert_eq!(storage.connections.len(), 64);
/// assert!(TABLES.take().is_none());
/// ```
pub struct Tables<const C: usize, const F: usize, const S: usize, const R: usize, const O: usize> {
    taken: Once<()>,
    connections: Array<Connection, C>,
    flows: Array<FlowEntry, F>,
    sends: Array<SendEntry, S>,
    segments: Array<Segment, R>,
    out_of_order: Array<OutOfOrder, O>,
    recoveries: Array<Recovery, 32>,
    controls: Array<Control, C>,
    listeners: Array<Listener, 8>,
    neighbors: Array<Neighbor, 32>,
}

/// Uninitialised until taken.
struct Array<T, const N: usize>(UnsafeCell<MaybeUninit<[T; N]>>);

impl<T: Default, const N: usize> Array<T, N> {
    const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Builds every element in place: no copy of the array ever stands on a (small) stack.
    ///
    /// # Safety
    /// Called once in the array's life.
    #[expect(clippy::mut_from_ref, reason = "called once, so this is the only reference")]
    unsafe fn init(&'static self) -> &'static mut [T] {
        let first = self.0.get().cast::<T>();
        for i in 0..N {
            // SAFETY: `i < N`; nobody else refers to the array, by contract.
            unsafe { first.add(i).write(T::default()) };
        }
        // SAFETY: all `N` elements were just written, and this is the only reference there will ever be.
        unsafe { core::slice::from_raw_parts_mut(first, N) }
    }
}

// SAFETY: the arrays are reached only through `take`, whose `Once` lets one caller through.
unsafe impl<const C: usize, const F: usize, const S: usize, const R: usize, const O: usize> Sync
    for Tables<C, F, S, R, O>
{
}

impl<const C: usize, const F: usize, const S: usize, const R: usize, const O: usize> Tables<C, F, S, R, O> {
    /// Empty memory, for a static.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            taken: Once::new(),
            connections: Array::new(),
            flows: Array::new(),
            sends: Array::new(),
            segments: Array::new(),
            out_of_order: Array::new(),
            recoveries: Array::new(),
            controls: Array::new(),
            listeners: Array::new(),
            neighbors: Array::new(),
        }
    }

    /// The tables, the first time; `None` ever after, on every core.
    #[cold]
    #[inline(never)]
    pub fn take(&'static self) -> Option<Storage<'static>> {
        let mut storage = None;
        self.taken.call_once(|| {
            // SAFETY: `Once` runs this closure once in the static's life.
            storage = Some(unsafe {
                Storage {
                    connections: self.connections.init(),
                    flows: self.flows.init(),
                    sends: self.sends.init(),
                    segments: self.segments.init(),
                    out_of_order: self.out_of_order.init(),
                    recoveries: self.recoveries.init(),
                    controls: self.controls.init(),
                    listeners: self.listeners.init(),
                    neighbors: self.neighbors.init(),
                }
            });
        });
        storage
    }
}

impl<const C: usize, const F: usize, const S: usize, const R: usize, const O: usize> Default for Tables<C, F, S, R, O> {
    fn default() -> Self {
        Self::new()
    }
}
