//! Tagging processes that run already, by a program that is loaded for it and gone with it: nobody else pays.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;

use agent_guard_common::read;
use agent_guard_common::session::{Adopted, Enrolment, adoption};
use aya::programs::Iter;
use aya::{Btf, Ebpf};

use super::error::Error;
use super::{load, pins};

/// The program's name in the object.
const PROGRAM: &str = "adopt";

/// A process that is to be taken into a session with all its descendants.
#[derive(Clone, Debug)]
pub struct Adoption {
    pub(super) pins: PathBuf,
    pub(super) root: u32,
    pub(super) enrolment: Enrolment,
}

/// The program, loaded.
pub struct Adopting(Ebpf);

/// What one run over all tasks has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The processes that have a newly tagged thread.
    pub tagged: BTreeSet<u32>,
    /// Threads that could not be tagged.
    pub failed: usize,
}

impl Adoption {
    /// Loads the program. Takes as long as the verifier; needs none of the daemon's own state.
    ///
    /// # Errors
    /// The kernel's types cannot be read, or the kernel refuses the program.
    pub fn load(&self) -> Result<Adopting, Error> {
        let Enrolment { serial, session, started, .. } = self.enrolment;
        let told = [
            (adoption::SERIAL, serial),
            (adoption::SESSION, u64::from(session)),
            (adoption::ROOT, u64::from(self.root)),
            (adoption::STARTED, started),
        ];
        let mut object = load::object(&pins::maps(&self.pins), &told)?;
        let refused = |source| Error::LoadProgram { program: PROGRAM, source: Box::new(source) };
        let program: &mut Iter = program(&mut object)?;
        program.load("task", &Btf::from_sys_fs().map_err(Error::ParseBtf)?).map_err(refused)?;
        Ok(Adopting(object))
    }
}

impl Adopting {
    /// Runs over all tasks once. What a pass tags may have descendants that it has seen before: they are the next one's.
    ///
    /// # Errors
    /// The kernel does not run the program.
    pub fn pass(&mut self) -> Result<Pass, Error> {
        let failed = |source| Error::AttachProgram { program: PROGRAM, source: Box::new(source) };
        let program: &mut Iter = program(&mut self.0)?;
        let id = program.attach().map_err(failed)?;
        let link = program.take_link(id).map_err(failed)?;
        let mut file = link.into_file().map_err(|error| Error::Adopt(Box::new(error)))?;
        let mut told = Vec::new();
        file.read_to_end(&mut told).map_err(|error| Error::Adopt(Box::new(error)))?;
        Ok(decode(&told))
    }
}

impl std::fmt::Debug for Adopting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adopting")
    }
}

fn program(object: &mut Ebpf) -> Result<&mut Iter, Error> {
    let program = object.program_mut(PROGRAM).ok_or(Error::NoProgram { program: PROGRAM })?;
    program.try_into().map_err(|source| Error::LoadProgram { program: PROGRAM, source: Box::new(source) })
}

fn decode(told: &[u8]) -> Pass {
    let mut pass = Pass::default();
    for record in told.chunks(size_of::<Adopted>()) {
        match read::<Adopted>(record) {
            Some(Adopted { process, tagged: 1 }) => drop(pass.tagged.insert(process)),
            // What cannot be read has told of something that is not known to be tagged.
            _ => pass.failed += 1,
        }
    }
    pass
}

#[cfg(test)]
mod tests {
    use agent_guard_common::bytes_of;
    use agent_guard_common::session::Adopted;

    use super::{Pass, decode};

    #[test]
    fn a_pass_is_the_processes_that_it_tagged_and_the_threads_that_it_did_not() {
        let told: Vec<u8> = [(7, 1), (7, 1), (9, 1), (11, 0)]
            .iter()
            .flat_map(|(process, tagged)| bytes_of(&Adopted { process: *process, tagged: *tagged }).to_vec())
            .collect();
        assert_eq!(decode(&told), Pass { tagged: [7, 9].into(), failed: 1 });
        assert_eq!(decode(&told[..20]), Pass { tagged: [7].into(), failed: 1 }, "half a record");
        assert_eq!(decode(&[]), Pass::default());
    }
}
