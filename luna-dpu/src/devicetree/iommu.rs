//! Which functions behind PCIe go through an SMMU, and by what number it knows them.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property, ToCellInt};

/// Most entries of an `iommu-map` that are looked at.
pub const MAX_RANGES: usize = 8;

/// An SMMUv3 with devices behind PCIe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Iommu {
    /// Its registers: address and length.
    pub registers: (u64, u64),
    /// What of a requester ID the map is about.
    mask: u32,
    map: heapless::Vec<Range, MAX_RANGES>,
}

/// An entry of the map: `len` requester IDs from `requester` are streams from `stream`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    requester: u32,
    stream: u32,
    len: u32,
}

impl Iommu {
    /// Of the first PCIe host bridge with an `iommu-map`, and the first `arm,smmu-v3` (bindings `iommu/arm,smmu-v3` and
    /// `pci/pci-iommu`): functions that the map gives to another one are not behind this. `Ok(None)` when there is none;
    /// `Err` when what is said of it makes no sense.
    pub(super) fn read(fdt: Fdt<'_>) -> Result<Option<Self>, ()> {
        let root = fdt.root();
        let Some(smmu) = root.children().find(|node| is(node, "arm,smmu-v3")) else { return Ok(None) };
        let bridge = root.children().find(|node| is(node, "pci-host-ecam-generic"));
        let Some((bridge, words)) = bridge.and_then(|b| Some((b, b.property("iommu-map")?))) else { return Ok(None) };
        let number = |node: FdtNode<'_>, name: &str| node.property(name).map(|p| p.value_as::<u32>().map_err(drop));
        let handle = number(smmu, "phandle").transpose()?.ok_or(())?;
        let mask = number(bridge, "iommu-map-mask").transpose()?.unwrap_or(u32::MAX);
        let reg = smmu.reg().map_err(drop)?.and_then(|mut reg| reg.next()).ok_or(())?;
        let registers = (reg.address().map_err(drop)?, reg.size().map_err(drop)?);
        let mut map = heapless::Vec::new();
        for entry in words.as_prop_encoded_array([1; 4]).map_err(drop)? {
            let [requester, iommu, stream, len] = entry.map(|cells| cells.to_int::<u32>().unwrap_or(0));
            if iommu == handle {
                map.push(Range { requester, stream, len }).map_err(drop)?;
            }
        }
        Ok(Some(Self { registers, mask, map }))
    }

    /// By what stream identifier it knows the function with this requester ID; `None`: the function does not go through it.
    #[must_use]
    pub fn stream(&self, requester: u16) -> Option<u32> {
        let requester = u32::from(requester) & self.mask;
        self.map.iter().find_map(|range| {
            let inside = requester.checked_sub(range.requester).filter(|inside| *inside < range.len)?;
            range.stream.checked_add(inside)
        })
    }
}

/// Whether the node is what a driver for `what` drives.
fn is(node: &FdtNode<'_>, what: &str) -> bool {
    node.compatible().is_some_and(|mut names| names.any(|name| name == what))
}
