//! Trees written here byte by byte (Devicetree Specification 0.4, chapter 5).

use std::vec::Vec;

use super::*;

const RAM: &[u32] = &[0, 0x4000_0000, 0, 0x1000_0000];
const SMMU: u32 = 0x8005;

/// A flattened tree in the making.
#[derive(Default)]
struct Tree {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Tree {
    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }

    fn node(mut self, name: &str, inside: impl FnOnce(Self) -> Self) -> Self {
        self.word(1);
        self.padded(&[name.as_bytes(), &[0]].concat());
        self = inside(self);
        self.word(2);
        self
    }

    fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        let at = self.strings.len() as u32;
        self.strings.extend([name.as_bytes(), &[0]].concat());
        self.word(3);
        self.word(value.len() as u32);
        self.word(at);
        self.padded(value);
        self
    }

    fn text(self, name: &str, value: &str) -> Self {
        self.bytes(name, &[value.as_bytes(), &[0]].concat())
    }

    fn cells(self, name: &str, value: &[u32]) -> Self {
        let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.bytes(name, &bytes)
    }

    /// Header, an empty list of reservations, structure, strings.
    fn finish(mut self) -> Vec<u8> {
        self.word(9);
        let (structure, strings) = (self.structure.len() as u32, self.strings.len() as u32);
        let at = 40 + 16 + structure;
        let header = [0xd00d_feed, at + strings, 56, at, 40, 17, 16, 0, strings, structure];
        let header = header.iter().flat_map(|word: &u32| word.to_be_bytes());
        header.chain([0; 16]).chain(self.structure).chain(self.strings).collect()
    }
}

/// A machine like QEMU's, with `more` of it.
fn machine(more: impl FnOnce(Tree) -> Tree) -> Vec<u8> {
    let tree = Tree::default().node("", |t| {
        let t = t.cells("#address-cells", &[2]).cells("#size-cells", &[2]);
        more(t.node("memory@40000000", |t| t.text("device_type", "memory").cells("reg", RAM)))
    });
    tree.finish()
}

fn with_smmu(compatible: &str, map: &[u32], more: impl FnOnce(Tree) -> Tree) -> Vec<u8> {
    machine(|t| {
        t.node("smmuv3@9050000", |t| {
            let t = t.cells("phandle", &[SMMU]).text("compatible", compatible);
            t.cells("reg", &[0, 0x0905_0000, 0, 0x2_0000])
        })
        .node("pcie@10000000", |t| more(t.text("compatible", "pci-host-ecam-generic").cells("iommu-map", map)))
    })
}

fn read(bytes: &[u8]) -> DeviceTree<'_> {
    DeviceTree::read(Fdt::new(bytes).unwrap()).unwrap()
}

#[test]
fn memory_cores_words_and_seed_are_read() {
    let bytes = machine(|t| {
        t.node("cpus", |t| {
            let t = t.cells("#address-cells", &[1]).cells("#size-cells", &[0]);
            let cpu = |t: Tree, id| t.node("cpu@0", |t| t.cells("reg", &[id]));
            cpu(cpu(t, 0), 1).node("cpu-map", |t| t)
        })
        .node("psci", |t| t.text("method", "smc"))
        .node("chosen", |t| t.text("bootargs", "cores=2 size=64").bytes("rng-seed", &[7; 40]))
    });
    let tree = read(&bytes);
    assert_eq!(tree.memory, (0x4000_0000, 0x1000_0000));
    assert_eq!((&tree.cores[..], tree.psci, tree.bootargs), (&[0, 1][..], Some(Conduit::Smc), "cores=2 size=64"));
    assert_eq!((tree.seed, tree.iommu()), (Some([7; 32]), Ok(None)));
}

#[test]
fn a_tree_without_memory_or_none_at_all_is_told_apart() {
    let bytes = Tree::default().node("", |t| t).finish();
    assert_eq!(DeviceTree::read(Fdt::new(&bytes).unwrap()).err(), Some(DeviceTreeError::NoMemory));
    let nothing = [0u64; 8];
    // SAFETY: no magic number is there.
    assert_eq!(unsafe { DeviceTree::at(nothing.as_ptr().cast()) }.err(), Some(DeviceTreeError::Unreadable));
    let tree = read(&machine(|t| t.node("chosen", |t| t.bytes("rng-seed", &[7; 31])))).seed;
    assert_eq!(tree, None, "too short");
}

#[test]
fn functions_behind_an_smmu_have_their_streams() {
    // All of a bus, as QEMU says it.
    let bytes = with_smmu("arm,smmu-v3", &[0, SMMU, 0, 0x1_0000], |t| t);
    let iommu = read(&bytes).iommu().unwrap().unwrap();
    assert_eq!(iommu.registers, (0x0905_0000, 0x2_0000));
    assert_eq!((iommu.stream(0), iommu.stream(0x10), iommu.stream(0xffff)), (Some(0), Some(0x10), Some(0xffff)));
    // A part of it, at other numbers; another part behind somebody else; one function around it.
    let map = [8, SMMU, 0x100, 8, 0x10, 0x8006, 0, 8, 0x18, SMMU, 0x200, 1];
    let bytes = with_smmu("arm,smmu-v3", &map, |t| t);
    let iommu = read(&bytes).iommu().unwrap().unwrap();
    let streams = [7, 8, 15, 16, 24, 25].map(|requester| iommu.stream(requester));
    assert_eq!(streams, [None, Some(0x100), Some(0x107), None, Some(0x200), None]);
    // Functions of a device share a stream.
    let bytes = with_smmu("arm,smmu-v3", &[8, SMMU, 1, 1], |t| t.cells("iommu-map-mask", &[0xfff8]));
    let iommu = read(&bytes).iommu().unwrap().unwrap();
    assert_eq!((iommu.stream(8), iommu.stream(15), iommu.stream(16)), (Some(1), Some(1), None));
}

#[test]
fn what_is_no_smmuv3_is_none_and_what_makes_no_sense_an_error() {
    let all = [0, SMMU, 0, 0x1_0000];
    assert_eq!(read(&with_smmu("arm,mmu-500", &all, |t| t)).iommu(), Ok(None));
    let many: Vec<u32> = (0..=MAX_RANGES as u32).flat_map(|i| [i, SMMU, i, 1]).collect();
    // Not entries of four cells; more of them than are looked at.
    for map in [&all[..3], &many] {
        let bytes = with_smmu("arm,smmu-v3", map, |t| t);
        assert_eq!(read(&bytes).iommu(), Err(DeviceTreeError::Iommu));
    }
    let bytes = with_smmu("arm,smmu-v3", &[8, SMMU, u32::MAX, 8], |t| t);
    assert_eq!(read(&bytes).iommu().unwrap().unwrap().stream(9), None, "beyond what streams are numbered with");
}
