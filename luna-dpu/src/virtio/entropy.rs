//! The entropy device (virtio 1.2, section 5.4): one queue, buffers filled with random bytes.

use super::features::{Features, feature};
use super::ring::{Buffer, Layout, Node, Ring, RingConfig};
use super::transport::{DeviceType, InitError, Transport, begin, finish};
use crate::dma::DmaArea;

/// Descriptors of the queue.
pub const ENTROPY_SIZE: usize = 2;
/// Looks at the ring before the device counts as silent.
const PATIENCE: u32 = 100_000_000;

/// 32 random bytes of the device, which is reset afterwards.
///
/// # Errors
/// [`InitError`]; [`InitError::Command`] when it gives fewer.
pub fn random_seed<T: Transport>(
    mut transport: T,
    area: &mut DmaArea,
    nodes: &mut [Node<()>; ENTROPY_SIZE],
) -> Result<[u8; 32], InitError> {
    if transport.device_type() != DeviceType::ENTROPY {
        return Err(InitError::WrongType(transport.device_type()));
    }
    let features = begin(&mut transport, Features::NONE, feature::RING_PACKED)?;
    if transport.queue_limit(0) < ENTROPY_SIZE as u16 {
        return Err(InitError::NoQueue(0));
    }
    let layout = if features.has(feature::RING_PACKED) { Layout::Packed } else { Layout::Split };
    let config = RingConfig { layout, size: ENTROPY_SIZE as u16, event_idx: false };
    let memory = area.take(config.memory(), 4096).ok_or(InitError::NoMemory)?;
    let bytes = area.take(32, 64).ok_or(InitError::NoMemory)?;
    transport.set_queue(0, config.size, config.addresses(&memory));
    let bell = transport.doorbell(0);
    finish(&mut transport);
    let mut ring = Ring::new(config, memory, nodes).ok_or(InitError::NoMemory)?;
    let mut seed = [0; 32];
    let mut filled = 0;
    while filled < seed.len() {
        let wanted = (seed.len() - filled) as u32;
        let buffer = Buffer { addr: bytes.io(0), len: wanted, device_writes: true };
        ring.add_one(buffer, ()).map_err(|()| InitError::Command("give random bytes"))?;
        if ring.publish() {
            bell.ring();
        }
        let len = (0..PATIENCE).find_map(|_| ring.pop(drop)).unwrap_or(0).min(wanted);
        if len == 0 {
            transport.set_status(0);
            return Err(InitError::Command("give random bytes"));
        }
        for i in 0..len as usize {
            // SAFETY: inside the piece, which the device returned; at most 32 in all.
            seed[filled + i] = unsafe { bytes.base().add(i).read_volatile() };
        }
        filled += len as usize;
    }
    transport.set_status(0);
    Ok(seed)
}
