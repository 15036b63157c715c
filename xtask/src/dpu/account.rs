//! What the bytes of an image are: by section, and its code by component, from the symbols.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use object::elf::SHF_WRITE;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind, SymbolKind};

/// Components in the order of the table: name, and how the paths of their symbols begin. The first that fits counts.
const COMPONENTS: &[(&str, &[&str])] = &[
    ("the stack's loop", &["luna_core::stack"]),
    ("TCP", &["luna_core::tcp"]),
    ("packets", &["luna_core::wire"]),
    ("RPC", &["luna_core::rpc"]),
    ("the rest of luna-core", &["luna_core"]),
    ("node and board, with what is in line there", &["luna_dpu::node", "qemu_virt", "sbsa_ref"]),
    ("control plane", &["luna_dpu::control", "smoltcp"]),
    ("virtio", &["luna_dpu::virtio", "luna_dpu::pci", "virtio_drivers"]),
    ("the rest of luna-dpu", &["luna_dpu"]),
    ("device tree", &["dtoolkit"]),
    ("core: text, numbers, slices", &["core", "compiler_builtins"]),
    ("other crates, and what has no name", &[""]),
];

/// An image's bytes.
#[derive(Debug)]
pub(super) struct Account {
    /// Name and size of each section that is loaded or cleared.
    pub(super) sections: Vec<(String, u64)>,
    /// Code, by component, in the order of [`Account::components`].
    code: Vec<u64>,
    /// Read-only data.
    pub(super) data: u64,
    /// What is written: initialised, cleared, stacks.
    pub(super) ram: u64,
}

impl Account {
    /// Reads an image.
    pub(super) fn of(image: &[u8]) -> Result<Self> {
        let file = object::File::parse(image)?;
        let (mut sections, mut code, mut data, mut ram) = (Vec::new(), 0, 0, 0);
        for section in file.sections().filter(|s| s.size() > 0 && s.address() > 0) {
            let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
            sections.push((section.name()?.to_owned(), section.size()));
            match section.kind() {
                _ if sh_flags & u64::from(SHF_WRITE) != 0 => ram += section.size(),
                SectionKind::Text => code += section.size(),
                _ => data += section.size(),
            }
        }
        // Functions that are alike are one, with several names.
        let mut functions = BTreeMap::new();
        for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.size() > 0) {
            functions.entry(symbol.address()).or_insert((symbol.size(), symbol.name()?));
        }
        let mut by = vec![0; COMPONENTS.len()];
        for (size, name) in functions.into_values() {
            by[component(&format!("{:#}", rustc_demangle::demangle(name)))] += size;
        }
        let named: u64 = by.iter().sum();
        let rest = by.last_mut().context("no components")?;
        *rest += code.saturating_sub(named);
        Ok(Self { sections, code: by, data, ram })
    }

    /// Code by component.
    pub(super) fn components(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        COMPONENTS.iter().zip(&self.code).map(|((name, _), size)| (*name, *size))
    }

    /// Code and read-only data.
    pub(super) fn constant(&self) -> u64 {
        self.code.iter().sum::<u64>() + self.data
    }
}

/// The component of a symbol: `<a::b::Type<X> as c::Trait>::method` is `a::b`'s.
fn component(symbol: &str) -> usize {
    let path = symbol.trim_start_matches(['<', '&', '[', '(']).trim_start_matches("mut ");
    let fits = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| prefix.is_empty() || !rest.starts_with(|c: char| c == '_' || c.is_alphanumeric()))
    };
    // Methods of types that the language has: `<str>::parse`, `<u64>::...`.
    let primitive = symbol.starts_with('<') && !path.split(['<', '>', ' ']).next().unwrap_or_default().contains("::");
    let core = COMPONENTS.iter().position(|(_, prefixes)| prefixes.contains(&"core"));
    let found = COMPONENTS.iter().position(|(_, prefixes)| prefixes.iter().any(|prefix| fits(prefix)));
    core.filter(|_| primitive).or(found).unwrap_or(COMPONENTS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_belong_to_where_their_type_is() {
        let name = |symbol| COMPONENTS[component(symbol)].0;
        assert_eq!(
            name("<luna_core::stack::Stack<luna_dpu::control::SplitQueue<Q>>>::flush_each::<A>"),
            "the stack's loop"
        );
        assert_eq!(name("<luna_core::tcp::connection::Connection>::input_slow"), "TCP");
        assert_eq!(name("luna_core::crc32c::append"), "the rest of luna-core");
        assert_eq!(
            name("<luna_dpu::node::app::NodeApp as luna_core::stack::events::App<Q>>::on_data"),
            COMPONENTS[5].0
        );
        assert_eq!(name("qemu_virt::image::main"), COMPONENTS[5].0);
        assert_eq!(name("<luna_dpu::control::Control>::ip::<P>"), "control plane");
        assert_eq!(name("<&luna_dpu::dma::DmaArea as core::fmt::Debug>::fmt"), "the rest of luna-dpu");
        assert_eq!(name("<&str as core::fmt::Debug>::fmt"), "core: text, numbers, slices");
        assert_eq!(name("<u64>::from_str_radix"), "core: text, numbers, slices");
        assert_eq!(name("memcpy"), "other crates, and what has no name");
        assert_eq!(name("core_other::f"), "other crates, and what has no name");
    }
}
