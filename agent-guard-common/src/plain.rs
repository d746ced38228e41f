//! What may cross the kernel boundary: integers and holeless records of integers.
//!
//! The only file of this crate with `unsafe`. It must not know any particular record.

use core::mem::size_of;

/// A type without padding and without invalid bit patterns.
///
/// # Safety
/// Every byte of an implementor is initialised, and every bit pattern of its size is a valid value.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($integer:ty),*) => { $(
        // SAFETY: integers have no padding and no invalid bit pattern.
        unsafe impl Plain for $integer {}
    )* };
}
plain!(u8, u16, u32, u64, i32, i64);

// SAFETY: arrays add nothing between their elements.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Reads a record from bytes that came from elsewhere; `None` unless the length is exactly right.
#[must_use]
pub fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the length was checked, any bit pattern is a `T`, and an unaligned read asks no alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The bytes of a record, as the kernel sees them.
#[must_use]
pub const fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a `Plain` value is `size_of::<T>()` initialised bytes that live as long as the borrow.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Declares a record of the ABI: its size is pinned, padding and fields that are not plain are refused.
macro_rules! abi {
    ($(#[$meta:meta])* pub struct $name:ident = $size:literal { $($(#[$field_meta:meta])* pub $field:ident : $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }
        const _: () = {
            assert!(core::mem::size_of::<$name>() == $size, "the size of an ABI record changed");
            assert!(core::mem::size_of::<$name>() == 0 $(+ core::mem::size_of::<$type>())*, "an ABI record has a hole");
            const fn is_plain<T: $crate::Plain>() {}
            $(is_plain::<$type>();)*
        };
        // SAFETY: `repr(C)`, every field is `Plain`, and the asserts above rule out padding.
        unsafe impl $crate::Plain for $name {}
        // SAFETY: as for `Plain`.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}
        impl $name {
            /// The record with every byte zero.
            pub const ZERO: Self = {
                // SAFETY: all-zero bytes are a valid value of a `Plain` type.
                unsafe { core::mem::zeroed() }
            };
        }
    };
}
pub(crate) use abi;

#[cfg(test)]
mod tests {
    use super::{bytes_of, read};
    use crate::rule::Cell;

    #[test]
    fn a_record_survives_the_way_through_bytes() {
        let cell = Cell { verdict: 3, tier: 1, rule: 517, condition: 9, whose: 0 };
        assert_eq!(read::<Cell>(bytes_of(&cell)), Some(cell));
    }

    #[test]
    fn a_record_of_the_wrong_length_is_refused() {
        assert_eq!(read::<Cell>(&[0; 7]), None);
        assert_eq!(read::<Cell>(&[0; 9]), None);
    }
}
