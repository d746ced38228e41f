//! The kernel's own description of its types: offsets of members, and which hooks exist.

use std::path::Path;

use agent_guard_common::member::{Constant, Member};
use btf_rs::{Btf, EnumMember, Type};

use super::error::Error;

/// The running kernel's types.
pub(super) struct Types(Btf);

impl Types {
    /// Reads the types that the kernel exports.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let types = Btf::from_file(path).map_err(|source| Error::ReadBtf { path: path.to_owned(), source })?;
        Ok(Self(types))
    }

    /// Offset of a member in its structure, in bytes.
    pub(super) fn offset(&self, member: &Member) -> Result<u32, Error> {
        let missing = || Error::NoMember { structure: member.structure, path: member.path };
        let mut of = self.structure(member.structure).ok_or_else(missing)?;
        let mut bits = 0;
        for name in member.path.split('.') {
            let (offset, r#type) = self.member(&of, name).ok_or_else(missing)?;
            bits += offset;
            of = r#type;
        }
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(missing()) }
    }

    /// Value of a constant. A kernel without its enum has the value from before there was one; a kernel whose enum lacks
    /// it has another that nobody knows.
    pub(super) fn value(&self, constant: &Constant) -> Result<u32, Error> {
        let found = self.0.resolve_types_by_name(constant.r#enum).unwrap_or_default();
        let Some(Type::Enum(found)) = found.into_iter().find(|r#type| matches!(r#type, Type::Enum(_))) else {
            return Ok(constant.before);
        };
        let is_it = |member: &&EnumMember| self.0.resolve_name(*member).is_ok_and(|name| name == constant.variant);
        let value = found.members.iter().find(is_it).map(EnumMember::val);
        value.ok_or(Error::NoMember { structure: constant.r#enum, path: constant.variant })
    }

    /// Whether programs can be attached to an LSM hook.
    pub(super) fn has_hook(&self, hook: &str) -> bool {
        self.has_function(&format!("bpf_lsm_{hook}"))
    }

    /// Whether the kernel has a function of this name.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.0.resolve_types_by_name(name).is_ok_and(|types| types.iter().any(|r#type| matches!(r#type, Type::Func(_))))
    }

    fn structure(&self, name: &str) -> Option<Type> {
        let found = self.0.resolve_types_by_name(name).ok()?;
        found.into_iter().find(|r#type| matches!(r#type, Type::Struct(_)))
    }

    /// A member, sought through anonymous structures and unions: its offset in bits, and its type.
    fn member(&self, of: &Type, name: &str) -> Option<(u32, Type)> {
        let (Type::Struct(fields) | Type::Union(fields)) = of else { return None };
        for field in &fields.members {
            // An anonymous member has no name to resolve.
            let field_name = self.0.resolve_name(field).unwrap_or_default();
            let r#type = self.bare(self.0.resolve_chained_type(field).ok()?)?;
            if field_name == name {
                return Some((field.bit_offset(), r#type));
            }
            if field_name.is_empty()
                && let Some((offset, found)) = self.member(&r#type, name)
            {
                return Some((field.bit_offset() + offset, found));
            }
        }
        None
    }

    /// The type without its qualifiers and names.
    fn bare(&self, r#type: Type) -> Option<Type> {
        let mut r#type = r#type;
        loop {
            r#type = match &r#type {
                Type::Const(inner) => self.0.resolve_chained_type(inner).ok()?,
                Type::Volatile(inner) => self.0.resolve_chained_type(inner).ok()?,
                Type::Restrict(inner) => self.0.resolve_chained_type(inner).ok()?,
                Type::Typedef(inner) => self.0.resolve_chained_type(inner).ok()?,
                Type::TypeTag(inner) => self.0.resolve_chained_type(inner).ok()?,
                _ => return Some(r#type),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use agent_guard_common::member::{CONSTANTS, Constant, MEMBERS, Member};

    use super::Types;

    /// The machine that builds has a kernel too; where it exports no types there is nothing to read.
    #[test]
    fn members_are_found_through_anonymous_unions_and_absent_ones_are_named() {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        if !path.exists() {
            assert!(Types::read(path).is_err());
            return;
        }
        let types = Types::read(path).expect("readable types");
        for member in MEMBERS {
            types.offset(member).expect(member.path);
        }
        let absent = Member { global: "", structure: "task_struct", path: "no_such_member" };
        let error = types.offset(&absent).expect_err("absent").to_string();
        assert!(error.contains("task_struct.no_such_member"), "{error}");
        for constant in CONSTANTS {
            types.value(constant).expect(constant.variant);
        }
        let unnumbered = Constant { global: "", r#enum: "pid_type", variant: "NO_SUCH_TYPE", before: 1 };
        assert!(types.value(&unnumbered).is_err(), "an enum that lacks it gives no value from before");
        let without_enum = Constant { r#enum: "no_such_enum", ..unnumbered };
        assert_eq!(types.value(&without_enum).ok(), Some(1));
        assert!(types.has_hook("file_open"));
        assert!(!types.has_hook("no_such_hook"));
    }
}
