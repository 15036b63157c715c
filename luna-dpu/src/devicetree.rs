//! What a board takes from its device tree: how much memory there is, which cores and how they are started, what the
//! image is told, a seed, whether PCI devices are behind an SMMU. Where devices are is the board's own knowledge.

mod iommu;

#[cfg(test)]
mod tests;

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};

pub use iommu::{Iommu, MAX_RANGES};

/// Most cores that are looked at.
pub const MAX_CORES: usize = 8;

/// How PSCI is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// A hypervisor call.
    Hvc,
    /// A secure monitor call.
    Smc,
}

/// A description of the machine.
#[derive(Clone)]
pub struct DeviceTree<'a> {
    /// First range of RAM: start and length.
    pub memory: (u64, u64),
    /// `/chosen/bootargs`.
    pub bootargs: &'a str,
    /// Whether and how there is PSCI.
    pub psci: Option<Conduit>,
    /// Affinities of the cores.
    pub cores: heapless::Vec<u64, MAX_CORES>,
    /// `/chosen/rng-seed`, when it is long enough.
    pub seed: Option<[u8; 32]>,
    fdt: Fdt<'a>,
}

/// Why a device tree is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceTreeError {
    /// There is none, or it is damaged.
    Unreadable,
    /// It names no memory.
    NoMemory,
    /// What it says of an SMMU cannot be: which devices are behind it is not known.
    Iommu,
}

impl core::fmt::Display for DeviceTreeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "no device tree, or a damaged one",
            Self::NoMemory => "the device tree names no memory",
            Self::Iommu => "what the device tree says of an SMMU makes no sense",
        })
    }
}

impl core::error::Error for DeviceTreeError {}

impl<'a> DeviceTree<'a> {
    /// Reads `fdt`.
    ///
    /// # Errors
    /// [`DeviceTreeError`].
    pub fn read(fdt: Fdt<'a>) -> Result<Self, DeviceTreeError> {
        let memory = fdt.memory().ok().and_then(|m| {
            let reg = m.reg().ok()??.next()?;
            Some((reg.address().ok()?, reg.size().ok()?))
        });
        let mut cores = heapless::Vec::new();
        let cpus = fdt.find_node("/cpus");
        for cpu in cpus.iter().flat_map(|c| c.children()).filter(|c| c.name_without_address() == "cpu") {
            let id = cpu.reg().ok().flatten().and_then(|mut r| r.next()).and_then(|r| r.address().ok());
            if id.is_some_and(|id| cores.push(id).is_err()) {
                break;
            }
        }
        let chosen = fdt.find_node("/chosen");
        let property = |name: &str| chosen.and_then(|c| c.properties().find(|p| p.name() == name)).map(value_of);
        let bootargs = property("bootargs").and_then(text).unwrap_or_default();
        let seed = property("rng-seed").and_then(|s| s.first_chunk::<32>().copied());
        let method = fdt.find_node("/psci").and_then(|p| p.properties().find(|p| p.name() == "method")).map(value_of);
        let psci = match method.and_then(text) {
            Some("hvc") => Some(Conduit::Hvc),
            Some("smc") => Some(Conduit::Smc),
            _ => None,
        };
        Ok(Self { memory: memory.ok_or(DeviceTreeError::NoMemory)?, bootargs, psci, cores, seed, fdt })
    }

    /// The SMMUv3 that devices behind PCIe go through. (Read when asked for: images that leave it off have no code for it.)
    ///
    /// # Errors
    /// [`DeviceTreeError::Iommu`].
    pub fn iommu(&self) -> Result<Option<Iommu>, DeviceTreeError> {
        Iommu::read(self.fdt).map_err(|()| DeviceTreeError::Iommu)
    }

    /// Reads the tree at `at`.
    ///
    /// # Errors
    /// [`DeviceTreeError`].
    ///
    /// # Safety
    /// If a device tree's magic number is at `at` (a multiple of 8), so is a device tree of the length that it says, and
    /// nobody writes to it for as long as `'a`.
    pub unsafe fn at(at: *const u8) -> Result<Self, DeviceTreeError> {
        // SAFETY: by contract; the magic number is looked at before the length is used.
        let fdt = unsafe {
            if at.cast::<[u8; 4]>().read() != 0xd00d_feed_u32.to_be_bytes() {
                return Err(DeviceTreeError::Unreadable);
            }
            Fdt::from_raw(at)
        };
        Self::read(fdt.map_err(|_| DeviceTreeError::Unreadable)?)
    }
}

fn value_of<'a>(property: dtoolkit::fdt::FdtProperty<'a>) -> &'a [u8] {
    property.value_as::<&'a [u8]>().unwrap_or_default()
}

/// A string property's text.
fn text(value: &[u8]) -> Option<&str> {
    let (_, text) = value.split_last().filter(|(last, _)| **last == 0)?;
    core::str::from_utf8(text).ok()
}
