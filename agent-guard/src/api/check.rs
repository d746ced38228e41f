//! A policy's faults as the API tells them, for the server and for `policy check`, which asks nobody.

use super::types::{PolicyFault, PolicyFaults};
use crate::policy;

/// All faults of a policy.
#[must_use]
pub fn check_policy(bytes: &[u8]) -> PolicyFaults {
    let faults = match std::str::from_utf8(bytes) {
        Ok(text) => policy::load(text).err().unwrap_or_default().iter().map(fault).collect(),
        Err(error) => vec![not_utf8(bytes, error.valid_up_to())],
    };
    PolicyFaults { faults }
}

fn fault(fault: &policy::Fault) -> PolicyFault {
    PolicyFault { line: fault.line, column: fault.column, message: fault.message.clone() }
}

/// The place of the first byte that is no text.
fn not_utf8(bytes: &[u8], at: usize) -> PolicyFault {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    PolicyFault { line, column, message: "expected UTF-8".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::check_policy;

    #[test]
    fn bytes_that_are_no_text_are_a_fault_with_its_place() {
        let found = check_policy(b"version: 1\nabc\xff").faults;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].column, found[0].message.as_str()), (2, 4, "expected UTF-8"));
    }
}
