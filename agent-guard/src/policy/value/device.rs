//! Devices of a policy, by what a node stands for: its name and place do not matter.

use agent_guard_common::rule::{ANY_DEVICE, BLOCK_DEVICE, CHARACTER_DEVICE};
use schemars::{Schema, json_schema};

use crate::policy::fault::quoted;
use crate::policy::read::Scalar;

/// One device, or all of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Device {
    /// [`BLOCK_DEVICE`] or [`CHARACTER_DEVICE`].
    pub(in crate::policy) kind: u32,
    /// Its number as the kernel holds it (major in the upper 12 bits), or [`ANY_DEVICE`].
    pub(in crate::policy) number: u64,
}

/// Bits of a minor number (include/linux/kdev_t.h).
const MINOR_BITS: u32 = 20;
/// The greatest major number.
const MAJOR: u64 = (1 << 12) - 1;

impl Scalar for Device {
    const EXPECTED: &'static str = "a device, such as `block`, `block 8:0` or `char 1:1`";

    fn from_text(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{} is no device; expected one such as `block`, `block 8:0` or `char 1:1`", quoted(text));
        let (kind, number) = text.split_once(' ').map_or((text, None), |(kind, number)| (kind, Some(number)));
        let kind = match kind {
            "block" => BLOCK_DEVICE,
            // Terminals and /dev/null are such too: to name them all is never meant.
            "char" if number.is_some() => CHARACTER_DEVICE,
            _ => return Err(wrong()),
        };
        let Some(number) = number else { return Ok(Self { kind, number: ANY_DEVICE }) };
        let (major, minor) = number.split_once(':').ok_or_else(wrong)?;
        let part = |digits: &str, most: u64| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|part| is_number && *part <= most).ok_or_else(wrong)
        };
        let (major, minor) = (part(major, MAJOR)?, part(minor, (1 << MINOR_BITS) - 1)?);
        Ok(Self { kind, number: major << MINOR_BITS | minor })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(block|(block|char) [0-9]{1,4}:[0-9]{1,7})$" })
    }
}

#[cfg(test)]
mod tests {
    use super::Device;
    use crate::policy::read::Scalar as _;

    #[test]
    fn devices_are_numbered_as_the_kernel_numbers_them() {
        assert_eq!(Device::from_text("block 8:1").map(|device| device.number), Ok(8 << 20 | 1));
        assert!(Device::from_text("block").is_ok() && Device::from_text("char 1:1").is_ok());
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for text in ["", "char", "8:0", "block 8", "block 8:", "block 4096:0", "block 8:1048576", "char +1:1", "BLOCK"]
        {
            assert!(Device::from_text(text).is_err(), "{text}");
        }
    }
}
