//! Owns what kernel modules say about themselves, and the index that the guest's `modprobe` reads.
//!
//! Must not know where the modules come from. Debian's packages carry no `modules.dep`: installing one would write it.

use std::collections::BTreeMap;

/// One loadable module, decompressed.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its name, with underscores as the kernel has it.
    pub(crate) name: String,
    /// The file's bytes.
    pub(crate) image: Vec<u8>,
}

impl Module {
    /// Returns the modules that must be loaded before this one.
    pub(crate) fn depends(&self) -> Vec<String> {
        self.facts("depends")
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|name| !name.is_empty())
            .map(normal)
            .collect()
    }

    /// Returns the other names under which the kernel asks for this module.
    fn aliases(&self) -> Vec<&str> {
        self.facts("alias")
    }

    /// Reads the values of one key in the module's `.modinfo`: strings `key=value` between NUL bytes.
    fn facts(&self, key: &str) -> Vec<&str> {
        self.image
            .split(|byte| *byte == 0)
            .filter_map(|text| std::str::from_utf8(text).ok()?.strip_prefix(key)?.strip_prefix('='))
            .collect()
    }
}

/// Returns a module's name as the kernel spells it: file names and `depends` mix dashes and underscores.
pub(crate) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Writes `modules.dep`: each module with all that it needs, nearest first, which is the reverse of the load order.
pub(crate) fn dependency_index(modules: &[Module]) -> String {
    let direct: BTreeMap<String, Vec<String>> =
        modules.iter().map(|module| (module.name.clone(), module.depends())).collect();
    modules
        .iter()
        .map(|module| {
            let mut order = load_order(&module.name, &direct);
            order.pop();
            order.reverse();
            let needs: String = order.iter().map(|name| format!(" {name}.ko")).collect();
            format!("{}.ko:{needs}\n", module.name)
        })
        .collect()
}

/// Writes `modules.alias`.
pub(crate) fn alias_index(modules: &[Module]) -> String {
    let lines = modules.iter().flat_map(|module| {
        module.aliases().into_iter().map(|alias| format!("alias {} {}\n", alias.replace('-', "_"), module.name))
    });
    lines.collect()
}

/// Returns the order in which `name` and all that it needs are loaded, itself last.
pub(crate) fn load_order(name: &str, direct: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    fn visit(name: &str, direct: &BTreeMap<String, Vec<String>>, order: &mut Vec<String>) {
        if order.iter().any(|known| known == name) {
            return;
        }
        for dependency in direct.get(name).into_iter().flatten() {
            visit(dependency, direct, order);
        }
        order.push(name.to_owned());
    }
    let mut order = Vec::new();
    visit(name, direct, &mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::{Module, alias_index, dependency_index};

    fn module(name: &str, modinfo: &str) -> Module {
        Module { name: name.to_owned(), image: format!("\x7fELF\0{}\0", modinfo.replace(' ', "\0")).into_bytes() }
    }

    #[test]
    fn a_module_comes_after_all_that_it_needs() {
        let modules = [
            module("virtio_blk", "license=GPL depends=virtio-ring,virtio"),
            module("virtio_ring", "depends=virtio"),
            module("virtio", "depends="),
        ];
        assert_eq!(
            dependency_index(&modules),
            "virtio_blk.ko: virtio_ring.ko virtio.ko\nvirtio_ring.ko: virtio.ko\nvirtio.ko:\n"
        );
    }

    #[test]
    fn aliases_are_listed_as_the_kernel_asks_for_them() {
        let modules = [module("overlay", "alias=fs-overlay"), module("veth", "alias=rtnl-link-veth depends=")];
        assert_eq!(alias_index(&modules), "alias fs_overlay overlay\nalias rtnl_link_veth veth\n");
    }
}
